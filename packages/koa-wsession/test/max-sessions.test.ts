import { expect } from 'chai';
import { OptionError, type SessionOptions, session } from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import type { Store } from 'koa-wsession/store';
import { stub, useFakeTimers } from 'sinon';
import type { Client } from 'testkit/http';
import { listenTo, stopListening } from './events-heard.js';
import { createSite, errorOf, Gate, jittered, OpenStore, type Site, tidy, twinOf } from './helpers.js';

const REFUSE = 'refuse' as const;

/** What the option takes. */
function refuseAt(limit: number): SessionOptions['maxSessions'] {
  // biome-ignore lint/suspicious/noThenProperty: the option's name
  return { limit, then: REFUSE };
}

async function open(
  maxSessions: SessionOptions['maxSessions'] | undefined,
  more: { store?: Store } & SessionOptions = {},
) {
  const site = await createSite(
    {
      '/visit': (ctx) => void (ctx.session.cart = ['book']),
      '/ada': (ctx, { of }) => of(ctx).logIn('ada', { label: String(ctx.query.label ?? '') }),
      '/bob': (ctx, { of }) => of(ctx).logIn('bob'),
      '/logout': (ctx, { of }) => of(ctx).logOut(),
      '/regenerate': (ctx) => ctx.session.regenerate(),
      '/confirm': (ctx, { of }) => of(ctx).confirm(),
      '/read': (ctx, { of }) => ({ owner: of(ctx).owner, data: { ...ctx.session } }),
    },
    { ...(maxSessions !== undefined && { maxSessions }), ...more },
  );
  return site;
}

async function logIn(site: Site, owner = 'ada'): Promise<Client> {
  const visitor = site.visitor();
  expect((await visitor.get(`/${owner}`)).status).to.equal(200);
  return visitor;
}

const ownerOf = async (visitor: Client): Promise<string | undefined> => (await visitor.get('/read')).json().owner;

const ownersOf = (visitors: readonly Client[]) => Promise.all(visitors.map(ownerOf));

/** The visitor's session, at another site on the same store. */
function at(site: Site, visitor: Client): Client {
  return Object.assign(twinOf(visitor), { url: site.served.url });
}

/** Holds the next `destroy` of a store. */
function holdDestroy(store: MemoryStore): { arrived: Gate; released: Gate } {
  const gates = { arrived: new Gate(), released: new Gate() };
  const destroy = store.destroy.bind(store);
  stub(store, 'destroy')
    .callsFake(destroy)
    .onFirstCall()
    .callsFake((async (...args: Parameters<typeof destroy>) => {
      gates.arrived.open();
      await gates.released.passed;
      return destroy(...args);
    }) as never);
  return gates;
}

for (const [kind, option] of [
  ['3', 3],
  ['{ limit: 3 }', { limit: 3 }],
] as const) {
  describe(`maxSessions: ${kind}`, () => {
    afterEach(tidy);

    it('ends the session with the oldest login at each login beyond that', async () => {
      const clock = useFakeTimers({ now: 1_000_000, toFake: ['Date'] });
      const site = await open(option);
      const visitors: Client[] = [];
      const seen: Array<Array<string | undefined>> = [];
      for (let logins = 0; logins < 5; logins++) {
        visitors.push(await logIn(site));
        clock.tick(1000);
        seen.push(await ownersOf(visitors));
      }
      expect(seen.map((owners) => owners.map((owner) => (owner ? 'x' : '-')).join(''))).to.deep.equal([
        'x',
        'xx',
        'xxx',
        '-xxx',
        '--xxx',
      ]);
      expect((await site.sessions.list('ada')).length).to.equal(3);
    });
  });
}

describe('maxSessions', () => {
  afterEach(tidy);

  it('counts by owner: others and anonymous visitors keep theirs', async () => {
    const site = await open(1);
    const [bob, visitor] = [await logIn(site, 'bob'), site.visitor()];
    await visitor.get('/visit');
    await logIn(site);
    await logIn(site);
    expect(await ownerOf(bob)).to.equal('bob');
    expect((await visitor.get('/read')).json().data).to.deep.equal({ cart: ['book'] });
  });

  it('keeps the one that has just logged in, however old the visit is', async () => {
    const clock = useFakeTimers({ now: 1_000_000, toFake: ['Date'] });
    const site = await open(1);
    const old = site.visitor();
    await old.get('/visit');
    clock.tick(60_000);
    const first = await logIn(site);
    clock.tick(60_000);
    await old.get('/ada');
    expect(await ownersOf([old, first])).to.deep.equal(['ada', undefined]);
  });

  it('counts confirm() as a login, and ends another', async () => {
    const clock = useFakeTimers({ now: 1_000_000, toFake: ['Date'] });
    const site = await open(2);
    const visitors = [await logIn(site), await logIn(site)];
    clock.tick(1000);
    await visitors[0]?.get('/confirm');
    visitors.push(await logIn(site));
    expect((await ownersOf(visitors)).filter(Boolean).length).to.equal(2);
    expect(await ownerOf(visitors[0] as Client)).to.equal('ada');
  });

  it('counts a session once that is given a second new id meanwhile', async () => {
    const store = new MemoryStore();
    const site = await open(2, { store });
    const [ada, bert] = [await logIn(site), await logIn(site)];
    await ada.get('/regenerate');
    const { arrived, released } = holdDestroy(store);
    const regenerating = ada.get('/regenerate');
    await arrived.passed;
    await bert.get('/ada');
    released.open();
    expect((await regenerating).status).to.equal(200);
    expect(await ownersOf([ada, bert])).to.deep.equal(['ada', 'ada']);
  });

  it('counts a session that is being confirmed by that, in whatever order the index has its ids', async () => {
    const clock = useFakeTimers({ now: 1_000_000, toFake: ['Date'] });
    for (const inOrder of [(keys: string[]) => keys, (keys: string[]) => keys.reverse()]) {
      const store = new MemoryStore();
      const site = await open(2, { store });
      const ada = await logIn(site);
      clock.tick(1000);
      const bert = await logIn(site);
      clock.tick(1000);
      const { arrived, released } = holdDestroy(store);
      const confirming = ada.get('/confirm');
      await arrived.passed;
      clock.tick(1000);
      const { keys } = store.index;
      store.index.keys = async (group, call) => inOrder([...(await keys(group, call))]);
      const late = await logIn(site);
      released.open();
      expect((await confirming).status).to.equal(200);
      expect(await ownersOf([ada, bert, late])).to.deep.equal(['ada', undefined, 'ada']);
    }
  });

  it('ends a session that is given a new id at the same moment', async () => {
    const clock = useFakeTimers({ now: 1_000_000, toFake: ['Date'] });
    const store = new MemoryStore();
    const site = await open(1, { store });
    const ada = await logIn(site);
    clock.tick(1000);
    const { arrived, released } = holdDestroy(store);
    const late = site.visitor();
    const loggingIn = late.get('/ada');
    await arrived.passed;
    expect((await ada.get('/regenerate')).status).to.equal(200);
    released.open();
    await loggingIn;
    expect(await ownersOf([ada, late])).to.deep.equal([undefined, 'ada']);
  });

  it('publishes each session that it ends', async () => {
    const clock = useFakeTimers({ now: 1_000_000, toFake: ['Date'] });
    const ended = listenTo('destroyed');
    const site = await open(1);
    await logIn(site);
    const [{ ref } = { ref: '' }] = await site.sessions.list('ada');
    clock.tick(1); // in the same millisecond, the key decides which is older
    await logIn(site);
    stopListening();
    expect(ended.map(([, { session }]) => session)).to.deep.equal([ref]);
  });

  it('takes a whole number from 1, or an object; any other value, and a store without an index, is an OptionError', async () => {
    const bad = [0, -1, 1.5, '3', Number.NaN, {}, { limit: 0 }, { limit: 3, than: 'x' }, { limit: { limit: 1 } }, []];
    for (const one of bad)
      expect(await errorOf(() => session(new MemoryStore(), { maxSessions: one as never })), JSON.stringify(one))
        .to.be.instanceOf(OptionError)
        .with.property('message')
        .that.matches(/^Invalid option maxSessions: expected a whole number from 1, or { limit/);
    expect((await errorOf(() => session(new OpenStore(), { maxSessions: 3 }))).message).to.match(
      /^Invalid option maxSessions: expected a store that indexes owners/,
    );
  });

  it('at a login that was stored, and whose count fails, is a 503', async () => {
    const store = new MemoryStore();
    const site = await open(1, { store });
    await logIn(site);
    store.index.keys = () => Promise.reject(new Error('down'));
    expect((await site.visitor().get('/ada')).status).to.equal(503);
  });
});

describe("maxSessions: { limit, then: 'refuse' }", () => {
  afterEach(tidy);

  it('refuses the login: a 403 with a code, and the visitor keeps the session as it was', async () => {
    const site = await open(refuseAt(2));
    const visitors = [await logIn(site), await logIn(site)];
    const late = site.visitor();
    await late.get('/visit');
    const { status, setCookie, body } = await late.get('/ada');
    expect([status, setCookie]).to.deep.equal([403, []]);
    expect(body).to.equal(
      'This account is logged in in 2 places already, and no more are allowed: log out there first.',
    );
    expect(site.errors[0]?.code).to.equal('WSESSION_LIMIT');
    expect((await late.get('/read')).json()).to.deep.equal({ data: { cart: ['book'] } });
    expect(await ownersOf(visitors)).to.deep.equal(['ada', 'ada']);
  });

  it('lets a login pass once another session has ended: by a logout, revoke() or expiry', async () => {
    const clock = useFakeTimers({ now: 1_000_000, toFake: ['Date'] });
    const site = await open(refuseAt(1));
    const ends = [
      (ada: Client) => ada.get('/logout'),
      () => site.sessions.revoke('ada'),
      () => clock.tick(3_600_000),
      (ada: Client) => ada.get('/bob'),
    ];
    for (const end of ends) {
      const ada = await logIn(site);
      expect((await site.visitor().get('/ada')).status).to.equal(403);
      await end(ada);
    }
    await logIn(site);
  });

  it('lets the same session log in again, confirm and get new ids: it keeps its place', async () => {
    const site = await open(refuseAt(1));
    const ada = await logIn(site);
    for (const path of ['/ada', '/confirm', '/regenerate', '/ada', '/regenerate', '/ada'])
      expect((await ada.get(path)).status, path).to.equal(200);
    expect(await ownerOf(ada)).to.equal('ada');
    expect((await site.visitor().get('/ada')).status).to.equal(403);
  });

  it('counts sessions from before there was a limit', async () => {
    const store = new MemoryStore();
    const before = await open(undefined, { store });
    const visitors = [await logIn(before), await logIn(before)];
    const site = await open(refuseAt(2), { store });
    expect((await site.visitor().get('/ada')).status).to.equal(403);
    const again = at(site, visitors[0] as Client);
    expect((await again.get('/ada')).status, 'the same one again').to.equal(200);
    expect((await site.visitor().get('/ada')).status).to.equal(403);
  });

  it('that was lowered lets a session log in again from before there was a limit', async () => {
    const store = new MemoryStore();
    const ada = await logIn(await open(undefined, { store }));
    const higher = await open(refuseAt(3), { store });
    await logIn(higher);
    await logIn(higher);
    const lower = await open(refuseAt(2), { store });
    expect((await at(lower, ada).get('/ada')).status).to.equal(200);
  });

  it('frees the seat of a login that failed', async () => {
    const store = new MemoryStore();
    const site = await open(refuseAt(1), { store });
    const { create } = store;
    store.create = () => {
      throw new Error('disk full');
    };
    expect((await site.visitor().get('/ada')).status).to.equal(503);
    store.create = create;
    await logIn(site);
  });
});

for (const refuses of [false, true]) {
  describe(`maxSessions in a race, ${refuses ? 'refuse' : 'end-oldest'}`, () => {
    afterEach(tidy);

    it('lets exactly 3 of 8 parallel logins be there in the end (20 rounds)', async () => {
      const site = await open(refuses ? refuseAt(3) : 3, { store: jittered(new MemoryStore()) });
      for (let round = 0; round < 20; round++) {
        const visitors = Array.from({ length: 8 }, () => site.visitor());
        const statuses = await Promise.all(visitors.map(async (one) => (await one.get('/ada')).status));
        const alive = (await ownersOf(visitors)).filter(Boolean);
        const refused = statuses.filter((status) => status === 403);
        expect([alive.length, refused.length], statuses.join()).to.deep.equal([3, refuses ? 5 : 0]);
        expect((await site.sessions.list('ada')).length).to.equal(3);
        await site.sessions.revoke('ada');
      }
    });

    it('doesn’t count a second click twice: no error page, and the other sessions stay (30 rounds)', async () => {
      const site = await open(refuses ? refuseAt(3) : 3, { store: jittered(new MemoryStore()) });
      for (let round = 0; round < 30; round++) {
        const others = [await logIn(site), await logIn(site)];
        const ada = site.visitor();
        await ada.get('/visit');
        const again = twinOf(ada);
        const clicks = [ada.get('/ada'), again.get('/ada')];
        if (round % 2) await clicks[0];
        expect((await Promise.all(clicks)).map(({ status }) => status)).to.deep.equal([200, 200]);
        expect(await ownersOf(others), `round ${round}`).to.deep.equal(['ada', 'ada']);
        const owners = await ownersOf([ada, again]);
        expect(owners.filter(Boolean).length, `round ${round}`).to.be.at.least(1);
        expect((await site.sessions.list('ada')).length).to.be.at.most(3);
        await site.sessions.revoke('ada');
      }
    });

    it('lets sessions that get new ids meanwhile stay (30 rounds)', async () => {
      const site = await open(refuses ? refuseAt(3) : 3, { store: jittered(new MemoryStore()) });
      for (let round = 0; round < 30; round++) {
        const [ada, bert] = [await logIn(site), await logIn(site)];
        const late = site.visitor();
        const paths = [ada.get('/regenerate'), late.get('/ada'), bert.get(round % 2 ? '/confirm' : '/ada')];
        expect((await Promise.all(paths)).map(({ status }) => status)).to.deep.equal([200, 200, 200]);
        expect(await ownersOf([ada, bert, late]), `round ${round}`).to.deep.equal(['ada', 'ada', 'ada']);
        await site.sessions.revoke('ada');
      }
    });
  });
}
