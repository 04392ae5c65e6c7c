import { expect } from 'chai';
import { OptionError, ReservedError, type SessionRecord, session, UnsupportedError } from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import { stub, useFakeTimers } from 'sinon';
import {
  asStore,
  createSite,
  errorOf,
  inRequest,
  OpenStore,
  recordOf,
  SOME_COOKIE,
  stubStore,
  tidy,
} from './helpers.js';

/** A stub store with an index, and the order of the writes to both. */
function stubOwned(entries: Record<string, string> = { n: '1' }) {
  const order: Array<[call: string, owner?: string]> = [];
  const store = stubStore();
  store.load.callsFake(() => recordOf(entries));
  store.create.callsFake(() => {
    order.push(['create']);
    return { outcome: 'created' };
  });
  store.update.callsFake(() => {
    order.push(['update']);
    return { outcome: 'updated' };
  });
  store.destroy.callsFake(() => {
    order.push(['destroy']);
    return recordOf(entries);
  });
  const owners = {
    add: stub<[string, string, number], unknown>().callsFake((owner) => void order.push(['add', owner])),
    remove: stub<[string, string], unknown>().callsFake((owner) => void order.push(['remove', owner])),
    keys: stub<[string], unknown>().returns([]),
  };
  return { store, owners, order, all: asStore({ ...store, owners } as never) };
}

const calls = (order: ReadonlyArray<[string, string?]>) => order.map(([call]) => call);

const KEYS = ['A', 'B', 'C'].map((letter) => letter.repeat(43));

describe('owner and label', () => {
  afterEach(tidy);

  for (const member of ['owner', 'label'] as const) {
    it(`${member}: a string, undefined to begin with, that stays with the session until it is undefined`, async () => {
      const site = await createSite({
        '/': (ctx) => {
          const before = ctx.session[member] ?? null;
          ctx.session[member] = 'x';
          return [before, ctx.session[member]];
        },
        '/read': (ctx) => ctx.session[member] ?? null,
        '/regenerate': (ctx) => ctx.session.regenerate(),
        '/replace': (ctx) => void (ctx.session = { a: 1 }),
        '/remove': (ctx) => {
          ctx.session[member] = undefined;
          return ctx.session[member] ?? null;
        },
      });
      const ada = site.visitor();
      expect((await ada.get('/')).json()).to.deep.equal([null, 'x']);
      for (const path of ['/read', '/regenerate', '/read', '/replace', '/read']) {
        const { body } = await ada.get(path);
        if (path === '/read') expect(body).to.equal('"x"');
      }
      expect((await ada.get('/remove')).json()).to.equal(null);
      expect((await ada.get('/read')).json()).to.equal(null);
    });

    it(`${member} takes nothing else`, async () => {
      const store = stubStore();
      await inRequest(
        async (ctx) => {
          for (const bad of ['', null, 0, 1, true, {}, ['a'], Symbol('x'), () => 'x', new String('a')]) {
            const error = await errorOf(() => (ctx.session[member] = bad as never));
            expect(error).to.be.instanceOf(OptionError);
            expect(error.message).to.match(
              new RegExp(
                `^session\\.${member} is .+, but it takes a string that is not empty, or undefined\\.$`,
              ),
            );
          }
        },
        { store: asStore(store), cookie: SOME_COOKIE },
      );
      expect(store.update.callCount).to.equal(0);
    });

    it(`${member} is a member, and no key`, async () => {
      await inRequest(async (ctx) => {
        const { session: own } = ctx;
        own[member] = 'x';
        expect([Object.keys(own), { ...own }, JSON.stringify(own)]).to.deep.equal([[], {}, '{}']);
        expect(member in own).to.equal(true);
        expect(Object.getOwnPropertyDescriptor(own, member)).to.include({ value: 'x', enumerable: false });
        expect(await errorOf(() => delete (own as never)[member])).to.be.instanceOf(ReservedError);
        expect(await errorOf(() => (ctx.session = { [member]: 'y' }))).to.be.instanceOf(ReservedError);
        expect(await errorOf(() => own.update(member as never, () => 'y' as never))).to.be.instanceOf(
          ReservedError,
        );
        expect(own[member]).to.equal('x');
      });
    });
  }

  it('the owner alone makes a session', async () => {
    const { setCookie } = await inRequest((ctx) => void (ctx.session.owner = 'ada'));
    expect(setCookie).to.have.length(1);
  });
});

describe('the index of owners', () => {
  afterEach(tidy);

  it('is told before the record is there, for twice as long', async () => {
    const { store, owners, order, all } = stubOwned();
    await inRequest((ctx) => void (ctx.session.owner = 'ada'), { store: all });
    expect(calls(order)).to.deep.equal(['add', 'create']);
    const [hash, key, until] = owners.add.firstCall.args;
    const [address, record] = store.create.firstCall.args;
    expect(hash).to.match(/^[\w-]{43}$/);
    expect(key).to.equal(address);
    expect(until - record.expiresAt).to.be.within(3_599_000, 3_601_000);
    expect(record.entries.get('\0listed')).to.equal(String(until));
    expect(record.entries.get('\0updated')).to.match(/^\d{13}$/);
  });

  it('is told before an update that sets the owner', async () => {
    const { order, all } = stubOwned();
    await inRequest((ctx) => void (ctx.session.owner = 'ada'), { store: all, cookie: SOME_COOKIE });
    expect(calls(order)).to.deep.equal(['add', 'update']);
  });

  it('is not told of each renewal, but before it would forget', async () => {
    const clock = useFakeTimers({ now: Date.now(), toFake: ['Date'] });
    const store = new MemoryStore({ expire: 100 });
    const add = stub(store.owners, 'add').callThrough();
    const site = await createSite(
      {
        '/': (ctx) => void (ctx.session.owner = 'ada'),
        '/change': (ctx) => void (ctx.session.n = (ctx.session.n ?? 0) + 1),
      },
      { store },
    );
    const ada = site.visitor();
    await ada.get('/');
    const counts: number[] = [];
    for (let i = 0; i < 6; i++) {
      clock.tick(40_000);
      await ada.get('/change');
      counts.push(add.callCount);
      expect(await site.sessions.list('ada')).to.have.length(1);
    }
    expect(counts).to.deep.equal([1, 1, 2, 2, 2, 3]);
  });

  it('is told again when the session gets to live longer', async () => {
    const entries = { '\0owner': '"ada"', '\0listed': String(Date.now() + 7_000_000) };
    const { order, all } = stubOwned(entries);
    await inRequest((ctx) => ctx.session.expireIn(60), { store: all, cookie: SOME_COOKIE });
    expect(calls(order)).to.deep.equal(['update']);
    order.length = 0;
    await inRequest((ctx) => ctx.session.expireIn(86_400), { store: all, cookie: SOME_COOKIE });
    expect(calls(order)).to.deep.equal(['add', 'update']);
  });

  it('of another owner: the new one first, the old one forgets it last', async () => {
    const entries = { '\0owner': '"ada"', '\0listed': String(Date.now() + 7_000_000) };
    const { owners, order, all } = stubOwned(entries);
    await inRequest((ctx) => void (ctx.session.owner = 'bob'), { store: all, cookie: SOME_COOKIE });
    expect(calls(order)).to.deep.equal(['add', 'update', 'remove']);
    expect(owners.add.firstCall.args[0]).not.to.equal(owners.remove.firstCall.args[0]);
    expect(owners.add.firstCall.args[1]).to.equal(owners.remove.firstCall.args[1]);
  });

  it('forgets a session without an owner, one that ended, and the old id', async () => {
    const entries = { '\0owner': '"ada"', '\0listed': String(Date.now() + 7_000_000) };
    const { order, all } = stubOwned(entries);
    const options = { store: all, cookie: SOME_COOKIE };
    await inRequest((ctx) => void (ctx.session.owner = undefined), options);
    expect(calls(order.splice(0))).to.deep.equal(['update', 'remove']);
    await inRequest((ctx) => ctx.session.destroy(), options);
    expect(calls(order.splice(0))).to.deep.equal(['destroy', 'remove']);
    await inRequest((ctx) => ctx.session.regenerate(), options);
    expect(calls(order.splice(0))).to.deep.equal(['add', 'create', 'destroy', 'remove']);
  });

  it('keeps an account of each id by itself, which is not carried over', async () => {
    const entries = { '\0owner': '"ada"', '\0listed': String(Date.now() + 7_000_000), '\0updated': '1' };
    for (const meanwhile of [{ '\0listed': String(Date.now() + 9_000_000) }, { '\0updated': '2' }]) {
      const { store, order, all } = stubOwned(entries);
      store.destroy.callsFake(() => {
        order.push(['destroy']);
        return recordOf({ ...entries, ...meanwhile });
      });
      await inRequest((ctx) => ctx.session.regenerate(), { store: all, cookie: SOME_COOKIE });
      expect(calls(order)).to.deep.equal(['add', 'create', 'destroy', 'remove']);
    }
  });

  it('is left alone by sessions without an owner', async () => {
    const { order, all } = stubOwned();
    await inRequest((ctx) => void (ctx.session.a = 1), { store: all, cookie: SOME_COOKIE });
    await inRequest((ctx) => void (ctx.session.label = 'x'), { store: all });
    await inRequest((ctx) => ctx.session.destroy(), { store: all, cookie: SOME_COOKIE });
    expect(calls(order)).to.deep.equal(['update', 'create', 'destroy']);
  });

  it('that is down: nothing is stored, and the answer is a 503', async () => {
    const { store, owners, all } = stubOwned();
    owners.add.rejects(new Error('down'));
    const site = await createSite({ '/': (ctx) => void (ctx.session.owner = 'ada') }, { store: all });
    const { status, setCookie } = await site.visitor().get('/');
    expect([status, setCookie, store.create.callCount]).to.deep.equal([503, [], 0]);
  });

  it('that is down when a session ends: the session ended, and the answer is a 503', async () => {
    const { store, owners, all } = stubOwned({ '\0owner': '"ada"' });
    owners.remove.rejects(new Error('down'));
    const site = await createSite({ '/': (ctx) => void (ctx.session = null) }, { store: all });
    const { status } = await site.visitor().get('/', { headers: { cookie: SOME_COOKIE } });
    expect([status, store.destroy.callCount]).to.deep.equal([503, 1]);
  });

  it('of a store without one: an owner is kept, and only the list is missing', async () => {
    for (const store of [asStore(stubStore()), new OpenStore()]) {
      const site = await createSite(
        { '/': (ctx) => void (ctx.session.owner = 'ada'), '/read': (ctx) => ctx.session.owner ?? null },
        { store },
      );
      const ada = site.visitor();
      expect((await ada.get('/')).status).to.equal(200);
      if (store instanceof OpenStore) expect((await ada.get('/read')).json()).to.equal('ada');
      for (const call of [() => site.sessions.list('ada'), () => site.sessions.revoke('ada')]) {
        const error = await errorOf(call);
        expect(error).to.be.instanceOf(UnsupportedError);
        expect(error.code).to.equal('WSESSION_UNSUPPORTED');
      }
    }
  });
});

describe('sessions.list(owner)', () => {
  afterEach(tidy);

  it('shows the sessions of one owner, newest first, the current one marked', async () => {
    const clock = useFakeTimers({ now: 1_000_000, toFake: ['Date'] });
    const site = await createSite(
      {
        '/': (ctx) => {
          ctx.session.owner = ctx.get('x-owner');
          ctx.session.label = ctx.get('x-label') || undefined;
        },
        '/change': (ctx) => void (ctx.session.n = 1),
        '/list': async (ctx) => site.sessions.list('ada', ctx.session),
      },
      { store: new MemoryStore({ expire: 100 }) },
    );
    const [first, second, bob] = [site.visitor(), site.visitor(), site.visitor()];
    await first.get('/', { headers: { 'x-owner': 'ada', 'x-label': 'Firefox' } });
    clock.tick(1000);
    await second.get('/', { headers: { 'x-owner': 'ada' } });
    await bob.get('/', { headers: { 'x-owner': 'bob' } });
    clock.tick(1000);
    await first.get('/change');
    const at = (ms: number) => new Date(ms).toISOString();
    const listed = (await first.get('/list')).json();
    expect(new Set(listed.map(({ ref }: { ref: string }) => ref)).size).to.equal(2);
    expect(listed.map(({ ref, ...rest }: { ref: string }) => rest)).to.deep.equal([
      { createdAt: at(1_001_000), updatedAt: at(1_001_000), expiresAt: at(1_101_000), current: false },
      {
        createdAt: at(1_000_000),
        updatedAt: at(1_002_000),
        expiresAt: at(1_102_000),
        current: true,
        label: 'Firefox',
      },
    ]);
    expect((await site.sessions.list('bob')).map(({ current }) => current)).to.deep.equal([false]);
    expect(await site.sessions.list('nobody')).to.deep.equal([]);
    clock.tick(99_500);
    expect(await site.sessions.list('ada')).to.have.length(1);
    clock.tick(1000);
    expect(await site.sessions.list('ada')).to.have.length(0);
  });

  it('leaves out what is no more, what is too old, and what is not the owner’s any more', async () => {
    const { store, owners, all } = stubOwned();
    owners.keys.resolves(KEYS);
    const records: Record<string, SessionRecord | string | undefined> = {};
    store.load.callsFake((key) => records[key]);
    const sessions = session(all, { absoluteTimeout: 100 });
    const mine = () => recordOf({ '\0owner': '"ada"' }, Date.now() - 1000);
    const [a, b, c] = KEYS as [string, string, string];
    for (const [other, last] of [
      [undefined, 'expired'],
      ['corrupt', recordOf({ '\0owner': '"bob"' })],
      [recordOf({}), recordOf({ '\0owner': '"ada"' }, Date.now() - 100_001)],
    ]) {
      Object.assign(records, { [a]: other, [b]: mine(), [c]: last });
      expect((await sessions.list('ada')).map(({ ref }) => ref)).to.deep.equal([b]);
    }
  });

  it('and revoke(owner) take an owner, and fail with the store', async () => {
    const { owners, all } = stubOwned();
    const sessions = session(all);
    for (const bad of ['', undefined, null, 1, {}]) {
      expect(await errorOf(() => sessions.list(bad as never))).to.be.instanceOf(OptionError);
      expect(await errorOf(() => sessions.revoke(bad as never))).to.be.instanceOf(OptionError);
    }
    owners.keys.rejects(new Error('down'));
    expect((await errorOf(() => sessions.list('ada'))).code).to.equal('WSESSION_UNAVAILABLE');
    expect((await errorOf(() => sessions.revoke('ada'))).code).to.equal('WSESSION_UNAVAILABLE');
  });

  it('keeps two middlewares on one store apart', async () => {
    const store = new MemoryStore();
    const [one, two] = [
      await createSite({ '/': (ctx) => void (ctx.session.owner = 'ada') }, { store, name: 'one' }),
      await createSite({ '/': (ctx) => void (ctx.session.owner = 'ada') }, { store, name: 'two' }),
    ];
    await one.visitor().get('/');
    await two.visitor().get('/');
    expect(await one.sessions.revoke('ada')).to.equal(1);
    expect(await two.sessions.list('ada')).to.have.length(1);
  });
});

describe('sessions.revoke(owner)', () => {
  afterEach(tidy);

  it('ends all, all but one, or one', async () => {
    const site = await createSite({
      '/': (ctx) => void (ctx.session.owner = 'ada'),
      '/ref': (ctx) => site.sessions.ref(ctx.session) ?? null,
      '/others': (ctx) => site.sessions.revoke('ada', { except: ctx.session }),
      '/one': (ctx) => site.sessions.revoke('ada', { only: ctx.get('x-ref') }),
      '/all': () => site.sessions.revoke('ada'),
    });
    const visitors = [site.visitor(), site.visitor(), site.visitor(), site.visitor()] as const;
    for (const visitor of visitors) await visitor.get('/');
    const refs = async () => Promise.all(visitors.map(async (one) => (await one.get('/ref')).json()));
    const [a, , c, d] = visitors;
    const [, refB] = await refs();
    expect((await a.get('/one', { headers: { 'x-ref': 'x' } })).json()).to.equal(0);
    expect((await a.get('/one', { headers: { 'x-ref': refB } })).json()).to.equal(1);
    expect((await refs()).map((ref) => ref !== null)).to.deep.equal([true, false, true, true]);
    expect((await c.get('/others')).json()).to.equal(2);
    expect((await refs()).map((ref) => ref !== null)).to.deep.equal([false, false, true, false]);
    expect((await d.get('/others')).json(), 'of somebody without a session').to.equal(1);
    expect((await a.get('/all')).json()).to.equal(0);
  });

  it('can’t end another owner’s session by its ref', async () => {
    const site = await createSite({
      '/': async (ctx) => {
        ctx.session.owner = 'bob';
        await ctx.session.save();
        return site.sessions.ref(ctx.session);
      },
    });
    const only = (await site.visitor().get('/')).json();
    expect(await site.sessions.revoke('ada', { only })).to.equal(0);
    expect(await site.sessions.list('bob')).to.have.length(1);
  });

  it('counts what it ended, not what somebody else ended meanwhile', async () => {
    const { store, owners, all } = stubOwned({ '\0owner': '"ada"' });
    owners.keys.returns(KEYS);
    store.destroy.withArgs(KEYS[1]).returns(undefined);
    expect(await session(all).revoke('ada')).to.equal(2);
    expect(owners.remove.callCount).to.equal(2);
  });
});

describe('sessions.ref(session)', () => {
  afterEach(tidy);

  it('follows the session: undefined, an address, another, undefined', async () => {
    const site = await createSite({
      '/': async (ctx) => {
        const { session: own } = ctx;
        const refs = [site.sessions.ref(own)];
        own.a = 1;
        refs.push(site.sessions.ref(own));
        for (const step of ['save', 'save', 'regenerate', 'destroy'] as const) {
          await own[step]();
          refs.push(site.sessions.ref(own));
        }
        const [none, unsaved, first, same, second, ended] = refs;
        expect([none, unsaved, ended]).to.deep.equal([undefined, undefined, undefined]);
        expect(first).to.match(/^[\w-]{43}$/);
        expect([same === first, second === first]).to.deep.equal([true, false]);
      },
    });
    const { status } = await site.visitor().get('/');
    expect([status, site.errors]).to.deep.equal([200, []]);
    expect(site.sessions.ref({} as never)).to.equal(undefined);
  });
});
