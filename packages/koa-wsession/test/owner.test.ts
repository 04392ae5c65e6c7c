import { createHash } from 'node:crypto';
import { expect } from 'chai';
import type Koa from 'koa';
import {
  OptionError,
  ReservedError,
  type Session,
  type Sessions,
  session,
  UnavailableError,
  UnsupportedError,
} from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import { stub, useFakeTimers } from 'sinon';
import type { Client, ClientResponse } from 'testkit/http';
import { asStore, createSite, errorOf, inRequest, OpenStore, recordOf, stubStore, tidy } from './helpers.js';

const login = (ctx: Koa.Context) => {
  ctx.session.user = ctx.query.name;
  ctx.session.owner = String(ctx.query.name);
  ctx.session.label = ctx.get('user-agent') || undefined;
};

/** A site on a store with an index of owners, and what can be done with its sessions. */
async function createOwned(store = new MemoryStore(), absoluteTimeout?: number) {
  const options = { ...(absoluteTimeout !== undefined && { absoluteTimeout }) };
  const sessions = session(store, options);
  const site = await createSite(
    {
      '/login': login,
      '/get': (ctx) => ctx.session.user ?? null,
      '/regenerate': (ctx) => ctx.session.regenerate(),
      '/disown': (ctx) => void (ctx.session.owner = undefined),
      '/change': (ctx) => void (ctx.session.n = (ctx.session.n ?? 0) + 1),
      '/logout': (ctx) => ctx.session.destroy(),
      '/list': (ctx) => sessions.list('ada', ctx.session),
      '/ref': (ctx) => sessions.ref(ctx.session) ?? null,
      '/others': (ctx) => sessions.revoke('ada', { except: ctx.session }),
    },
    { store, ...options },
  );
  const enter = async (name: string, browser = 'x'): Promise<Client> => {
    const client = site.visitor();
    await client.get(`/login?name=${name}`, { headers: { 'user-agent': browser } });
    return client;
  };
  return { ...site, store, sessions, enter };
}

describe('owner and label', () => {
  afterEach(tidy);

  it('are kept with the session, and are no keys', async () => {
    const { visitor } = await createSite({
      '/': (ctx) => {
        ctx.session.owner = 'ada';
        ctx.session.label = 'a browser';
      },
      '/get': (ctx) => [ctx.session.owner, ctx.session.label, Object.keys(ctx.session), { ...ctx.session }],
    });
    const ada = visitor();
    expect((await ada.get('/')).setCookie).to.have.length(1);
    expect((await ada.get('/get')).json()).to.deep.equal(['ada', 'a browser', [], {}]);
  });

  it('are undefined until they are set, and when they are set to undefined', () =>
    inRequest((ctx) => {
      const { session } = ctx;
      expect([session.owner, session.label, 'owner' in session]).to.deep.equal([undefined, undefined, true]);
      session.owner = 'ada';
      session.owner = undefined;
      expect(session.owner).to.equal(undefined);
    }));

  it('stay with the session through regenerate() and ctx.session = {…}, and end with it', async () => {
    const { visitor } = await createSite({
      '/': login,
      '/keep': async (ctx) => {
        await ctx.session.regenerate();
        ctx.session = { a: 1 };
      },
      '/get': (ctx) => ctx.session.owner ?? null,
      '/end': (ctx) => {
        ctx.session = null;
        return ctx.session.owner ?? null;
      },
    });
    const ada = visitor();
    await ada.get('/?name=ada');
    await ada.get('/keep');
    expect((await ada.get('/get')).json()).to.equal('ada');
    expect((await ada.get('/end')).json()).to.equal(null);
  });

  it('take a string, and nothing else', () =>
    inRequest(async (ctx) => {
      for (const member of ['owner', 'label'] as const) {
        for (const bad of ['', 5, null, {}, () => 1, Symbol('x')]) {
          const error = await errorOf(() => void (ctx.session[member] = bad as never));
          expect(error).to.be.instanceOf(OptionError);
          expect(error.message).to.match(new RegExp(`^session\\.${member} is .+, but it takes a string`));
        }
        const gone = () => void delete (ctx.session as Partial<Session>)[member];
        expect(await errorOf(gone)).to.be.instanceOf(ReservedError);
        expect(await errorOf(() => void (ctx.session = { [member]: 'x' }))).to.be.instanceOf(ReservedError);
      }
    }));
});

describe('sessions.list(owner, current)', () => {
  afterEach(tidy);

  it('answers the owner’s sessions, newest first, the current one marked', async () => {
    const clock = useFakeTimers({ toFake: ['Date'] });
    const { enter } = await createOwned();
    const start = clock.now;
    const phone = await enter('ada', 'phone');
    clock.tick(1000);
    const laptop = await enter('ada', 'laptop');
    await enter('bob', 'desk');
    clock.tick(1000);
    await phone.get('/change');
    const list = (await laptop.get('/list')).json();
    const instant = (offset: number) => new Date(start + offset).toISOString();
    expect(list.map(({ ref, ...rest }: { ref: string }) => rest)).to.deep.equal([
      {
        createdAt: instant(1000),
        updatedAt: instant(1000),
        expiresAt: instant(3_601_000),
        current: true,
        label: 'laptop',
      },
      {
        createdAt: instant(0),
        updatedAt: instant(2000),
        expiresAt: instant(3_602_000),
        current: false,
        label: 'phone',
      },
    ]);
    for (const { ref } of list) expect(ref).to.match(/^[\w-]{43}$/);
    expect((await laptop.get('/ref')).json()).to.equal(list[0].ref);
  });

  it('has none that ended, changed hands or is over', async () => {
    const clock = useFakeTimers({ toFake: ['Date'] });
    const { enter, sessions } = await createOwned(new MemoryStore(), 3000);
    const [a, b, c, d] = [await enter('ada'), await enter('ada'), await enter('ada'), await enter('ada')];
    expect(await sessions.list('ada')).to.have.length(4);
    await a.get('/logout');
    await b.get('/disown');
    await c.get('/login?name=bob');
    await d.get('/regenerate');
    expect((await sessions.list('ada')).map(({ ref }) => ref)).to.deep.equal([(await d.get('/ref')).json()]);
    expect(await sessions.list('bob')).to.have.length(1);
    clock.tick(2_999_000);
    await d.get('/change');
    expect(await sessions.list('ada')).to.have.length(1);
    clock.tick(2000);
    expect(await sessions.list('ada')).to.have.length(0);
  });

  it('still has one that lives by being used', async () => {
    const clock = useFakeTimers({ toFake: ['Date'] });
    const { enter, sessions } = await createOwned();
    const ada = await enter('ada');
    for (let hour = 0; hour < 20; hour++) {
      clock.tick(3_599_000);
      await ada.get('/change');
      await ada.get(hour % 2 ? '/login?name=ada' : '/regenerate');
      expect(await sessions.list('ada')).to.have.length(1);
    }
    clock.tick(3_600_001);
    expect(await sessions.list('ada')).to.have.length(0);
  });

  it('does not mark a session that is not stored, and needs none', async () => {
    const { enter, visitor, sessions } = await createOwned();
    await enter('ada');
    expect((await visitor().get('/list')).json()[0].current).to.equal(false);
    expect((await sessions.list('ada'))[0]?.current).to.equal(false);
    expect(await sessions.list('nobody')).to.deep.equal([]);
  });

  it('gives the store a hash over session name and owner, before it makes the record', async () => {
    const store = new MemoryStore();
    const order: string[] = [];
    const create = store.create.bind(store);
    stub(store, 'create').callsFake((...args) => {
      order.push('create');
      return create(...args);
    });
    const { add } = store.owners;
    const adding = stub(store.owners, 'add').callsFake((...args) => {
      order.push('add');
      return add(...args);
    });
    const { enter } = await createOwned(store);
    await enter('ada');
    expect(order).to.deep.equal(['add', 'create']);
    const hash = createHash('sha256').update('wsession\0"ada"').digest('base64url');
    expect(adding.firstCall.args[0]).to.equal(hash);
    expect(JSON.stringify(adding.args)).to.not.include('ada');
  });
});

describe('sessions.revoke(owner, which)', () => {
  afterEach(tidy);

  it('ends them all, and none of anybody else', async () => {
    const { enter, sessions } = await createOwned();
    const [one, two, bob] = [await enter('ada'), await enter('ada'), await enter('bob')];
    expect(await sessions.revoke('ada')).to.equal(2);
    const seen = [];
    for (const client of [one, two, bob]) seen.push((await client.get('/get')).json());
    expect(seen).to.deep.equal([null, null, 'bob']);
    expect([await sessions.revoke('ada'), await sessions.revoke('nobody')]).to.deep.equal([0, 0]);
  });

  it('ends all except one, or only one', async () => {
    const { enter, sessions } = await createOwned();
    const [one, two, three] = [await enter('ada'), await enter('ada'), await enter('ada')];
    const ref = (await two.get('/ref')).json();
    expect(await sessions.revoke('ada', { only: ref })).to.equal(1);
    expect(await sessions.revoke('ada', { only: 'no such' })).to.equal(0);
    expect(await sessions.revoke('bob', { only: (await one.get('/ref')).json() })).to.equal(0);
    expect((await three.get('/others')).json()).to.equal(1);
    const seen = [];
    for (const client of [one, two, three]) seen.push((await client.get('/get')).json());
    expect(seen).to.deep.equal([null, null, 'ada']);
  });

  it('is final: a request still at work is a 409', async () => {
    const store = new MemoryStore();
    const sessions = session(store);
    const { visitor } = await createSite(
      {
        '/login': login,
        '/slow': async (ctx) => {
          ctx.session.n = 1;
          expect(await sessions.revoke('ada')).to.equal(1);
        },
      },
      { store },
    );
    const ada = visitor();
    await ada.get('/login?name=ada');
    const { status, setCookie } = await ada.get('/slow');
    expect([status, setCookie]).to.deep.equal([409, []]);
  });
});

describe('sessions.list and revoke', () => {
  afterEach(tidy);

  it('say so where the store has no index', async () => {
    for (const store of [new OpenStore(), asStore(stubStore())]) {
      for (const ask of [() => session(store).list('ada'), () => session(store).revoke('ada')]) {
        const error = await errorOf(ask);
        expect(error).to.be.instanceOf(UnsupportedError).with.property('code', 'WSESSION_UNSUPPORTED');
        expect(error.message).to.match(/^A list of an owner's sessions can't be had with this store/);
      }
    }
    await inRequest((ctx) => void (ctx.session.owner = 'ada'), { store: new OpenStore() });
  });

  it('take an owner that is one', async () => {
    const sessions = session(new MemoryStore());
    for (const bad of ['', undefined, 5]) {
      expect(await errorOf(() => sessions.list(bad as string))).to.be.instanceOf(OptionError);
      expect(await errorOf(() => sessions.revoke(bad as string))).to.be.instanceOf(OptionError);
    }
  });

  it('of a store that fails are an UnavailableError, and so is a change of the owner', async () => {
    for (const [method, failing] of [
      ['add', ({ ada }) => ada.get('/login?name=bob')],
      ['remove', ({ ada }) => ada.get('/login?name=bob')],
      ['remove', ({ ada }) => ada.get('/logout')],
      ['remove', ({ sessions }) => sessions.revoke('ada')],
      ['keys', ({ sessions }) => sessions.list('ada')],
      ['keys', ({ sessions }) => sessions.revoke('ada')],
    ] as Array<['add' | 'remove' | 'keys', (it: { ada: Client; sessions: Sessions }) => Promise<unknown>]>) {
      const store = new MemoryStore();
      const { enter, sessions } = await createOwned(store);
      const ada = await enter('ada');
      stub(store.owners, method).throws(new Error('down'));
      const outcome = await failing({ ada, sessions }).catch((error: unknown) => error);
      const failed = outcome instanceof UnavailableError || (outcome as ClientResponse).status === 503;
      expect(failed, `${method} ${failing}`).to.equal(true);
    }
  });

  it('do not end a session whose record says that it is somebody else’s', async () => {
    const store = {
      ...stubStore(),
      owners: { add: () => undefined, remove: () => undefined, keys: () => ['theirs', 'nobodys', 'gone'] },
    };
    store.load.callsFake((key) =>
      key === 'theirs' ? recordOf({ '\0owner': '"bob"' }) : key === 'nobodys' ? recordOf({}) : undefined,
    );
    expect(await session(asStore(store)).revoke('ada')).to.equal(0);
    expect(store.destroy.callCount).to.equal(0);
  });
});

describe('sessions.ref(session)', () => {
  afterEach(tidy);

  it('is a hash of what leads to the session, while it is stored', async () => {
    for (const store of [new MemoryStore(), new OpenStore()]) {
      const sessions = session(store);
      await inRequest(
        async (ctx) => {
          expect(sessions.ref(ctx.session)).to.equal(undefined);
          ctx.session.a = 1;
          await ctx.session.save();
          const ref = sessions.ref(ctx.session);
          expect(ref).to.match(/^[\w-]{43}$/);
          const [, token] = /^wsession=([^;]+);/.exec(String(ctx.res.getHeader('Set-Cookie'))) ?? [];
          expect(ref).to.equal(createHash('sha256').update(`wsession\0${token}`).digest('base64url'));
          await ctx.session.destroy();
          expect(sessions.ref(ctx.session)).to.equal(undefined);
        },
        { store },
      );
    }
  });

  it('of what is no session is undefined', () => {
    const sessions = session(new MemoryStore());
    expect(sessions.ref({} as Session)).to.equal(undefined);
  });
});
