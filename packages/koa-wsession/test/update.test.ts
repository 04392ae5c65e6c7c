import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises';
import { expect } from 'chai';
import type Koa from 'koa';
import { GoneError, type Sessions, UnavailableError, ValueError } from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import type { Store, Updated } from 'koa-wsession/store';
import { spy, stub } from 'sinon';
import {
  asStore,
  createSite,
  errorOf,
  Gate,
  inRequest,
  observe,
  recordOf,
  SOME_COOKIE,
  stubStore,
  tidy,
  UPDATED,
} from './helpers.js';

const increment = (n = 0) => n + 1;

/** What the store was asked to set, and what it was to expect, call by call. */
function requests(store: ReturnType<typeof stubStore>) {
  return store.update.args.map(([, { set, delete: removed, expect: expected }]) => ({
    set: Object.fromEntries(set),
    ...(removed.length > 0 && { delete: removed }),
    expect: Object.fromEntries(expected as Map<string, string | undefined>),
  }));
}

describe('sessions.of(ctx).update(key, change)', () => {
  afterEach(tidy);

  it('changes a key by compare and set, and returns the new value', async () => {
    const store = stubStore();
    await inRequest(
      async (ctx, sessions) => {
        expect(await sessions.of(ctx).update('n', increment)).to.equal(2);
        expect(ctx.session.n).to.equal(2);
        expect(await sessions.of(ctx).update('added', increment)).to.equal(1);
        delete ctx.session.never;
        expect(await sessions.of(ctx).update('never', increment)).to.equal(1);
      },
      { store: asStore(store), cookie: SOME_COOKIE },
    );
    expect(requests(store)).to.deep.equal([
      { set: { n: '2' }, expect: { n: '1' } },
      { set: { added: '1' }, expect: { added: undefined } },
      { set: { never: '1' }, expect: { never: undefined } },
    ]);
  });

  it('tries again from the actual value where another request was faster', async () => {
    const store = stubStore();
    const conflict = (actual: string | undefined): Updated => ({
      outcome: 'conflict',
      actual: new Map([['n', actual]]),
    });
    store.update.onCall(0).returns(conflict('10')).onCall(1).resolves(conflict(undefined));
    store.update.onCall(2).resolves(conflict('20'));
    const seen: unknown[] = [];
    await inRequest(
      async (ctx, sessions) => {
        const answer = await sessions.of(ctx).update('n', (n) => {
          seen.push(n);
          return increment(n);
        });
        seen.push(answer, ctx.session.n);
      },
      { store: asStore(store), cookie: SOME_COOKIE },
    );
    expect(seen).to.deep.equal([1, 10, undefined, 20, 21, 21]);
    expect(requests(store).map((request) => request.expect.n)).to.deep.equal(['1', '10', undefined, '20']);
    expect(requests(store).at(-1)?.set).to.deep.equal({ n: '21' });
  });

  it('passes each attempt a copy, which may be changed in place', async () => {
    const store = stubStore();
    store.load.callsFake(() => recordOf({ list: '[1]' }));
    store.update.onFirstCall().returns({ outcome: 'conflict', actual: new Map([['list', '[1,5]']]) });
    const answer = await new Promise((resolve) => {
      void inRequest(
        async (ctx, sessions) => {
          resolve(
            await sessions.of(ctx).update('list', (list) => {
              list.push(2);
              return list;
            }),
          );
        },
        { store: asStore(store), cookie: SOME_COOKIE },
      );
    });
    expect(answer).to.deep.equal([1, 5, 2]);
    expect(requests(store).map(({ set }) => set.list)).to.deep.equal(['[1,2]', '[1,5,2]']);
  });

  it('waits for an async function', async () => {
    const store = stubStore();
    await inRequest(
      async (ctx, sessions) => {
        const change = async (n = 0) => {
          await nextTurn();
          return n + 1;
        };
        expect(await Promise.all([1, 2, 3].map(() => sessions.of(ctx).update('n', change)))).to.deep.equal([2, 3, 4]);
      },
      { store: asStore(store), cookie: SOME_COOKIE },
    );
    expect(requests(store).map(({ set }) => set.n)).to.deep.equal(['2', '3', '4']);
  });

  it('rejects with what the function throws, and stores nothing', async () => {
    const mine = new Error('mine');
    for (const cookie of [SOME_COOKIE, 'none=1']) {
      const store = stubStore();
      const { status, setCookie } = await inRequest(
        async (ctx, sessions) => {
          const throwing = () => {
            throw mine;
          };
          expect(await errorOf(() => sessions.of(ctx).update('n', throwing))).to.equal(mine);
          expect(await errorOf(() => sessions.of(ctx).update('n', () => Promise.reject(mine)))).to.equal(mine);
        },
        { store: asStore(store), cookie },
      );
      expect([status, setCookie, store.update.callCount, store.create.callCount]).to.deep.equal([200, [], 0, 0]);
    }
  });

  it('to the loaded value asks the store whether it still has that value', async () => {
    const store = stubStore();
    store.update.onFirstCall().returns({ outcome: 'conflict', actual: new Map([['n', '0']]) });
    await inRequest(
      async (ctx, sessions) => expect(await sessions.of(ctx).update('n', (n) => Math.max(n, 1))).to.equal(1),
      {
        store: asStore(store),
        cookie: SOME_COOKIE,
      },
    );
    expect(requests(store)).to.deep.equal([
      { set: { n: '1' }, expect: { n: '1' } },
      { set: { n: '1' }, expect: { n: '0' } },
    ]);
  });

  it('of a new session creates its record', async () => {
    const store = stubStore();
    const { setCookie } = await inRequest(
      async (ctx, sessions) => {
        ctx.session.before = 1;
        expect(await sessions.of(ctx).update('n', increment)).to.equal(1);
        expect(ctx.session.isNew).to.equal(false);
        expect(await sessions.of(ctx).update('n', increment)).to.equal(2);
      },
      { store: asStore(store) },
    );
    expect(Object.fromEntries(store.create.firstCall.args[1].entries)).to.deep.equal({ before: '1', n: '1' });
    expect(requests(store)).to.deep.equal([{ set: { n: '2' }, expect: { n: '1' } }]);
    expect(setCookie).to.have.length(1);
  });

  it('stores what was assigned before, in the same step', async () => {
    const store = stubStore();
    store.load.callsFake(() => recordOf({ n: '1', gone: '1' }));
    await inRequest(
      async (ctx, sessions) => {
        ctx.session.other = 'x';
        delete ctx.session.gone;
        await sessions.of(ctx).update('n', increment);
        expect({ ...ctx.session }).to.deep.equal({ other: 'x', n: 2 });
      },
      { store: asStore(store), cookie: SOME_COOKIE },
    );
    expect(requests(store)).to.deep.equal([{ set: { other: '"x"', n: '2' }, delete: ['gone'], expect: { n: '1' } }]);
  });

  it('of a key that this request assigned or deleted is stored whatever other requests did to it', async () => {
    for (const change of [
      (ctx: Koa.Context) => void (ctx.session.n = 10),
      (ctx: Koa.Context) => void delete ctx.session.n,
    ]) {
      const store = stubStore();
      await inRequest(
        async (ctx, sessions) => {
          change(ctx);
          await sessions.of(ctx).update('n', increment);
        },
        { store: asStore(store), cookie: SOME_COOKIE },
      );
      expect(store.update.firstCall.args[1].expect?.size).to.equal(0);
      expect(store.update.firstCall.args[1].delete).to.deep.equal([]);
    }
  });

  it('of a key that this request assigned or deleted goes on from that', async () => {
    for (const [change, expected] of [
      [(ctx: Koa.Context) => void (ctx.session.n = 10), 11],
      [(ctx: Koa.Context) => void delete ctx.session.n, 1],
    ] as const) {
      const { visitor } = await createSite({
        '/login': (ctx) => void (ctx.session.n = 5),
        '/': async (ctx, sessions) => {
          change(ctx);
          return [await sessions.of(ctx).update('n', increment), ctx.session.n];
        },
        '/get': (ctx) => ctx.session.n,
      });
      const ada = visitor();
      await ada.get('/login');
      expect((await ada.get('/')).json()).to.deep.equal([expected, expected]);
      expect((await ada.get('/get')).json()).to.equal(expected);
    }
  });

  it('returns what is stored, not the object that the function returned', async () => {
    await inRequest(async (ctx, sessions) => {
      ctx.session.a = 1;
      await ctx.session.save();
      const given = { list: [1] };
      const answer = await sessions.of(ctx).update('v', () => given);
      expect(answer).to.deep.equal(given);
      expect(answer).to.not.equal(given);
      given.list.push(2);
      expect(ctx.session.v).to.equal(answer);
      ctx.session.v.list.push(3);
      await ctx.session.save();
      expect(ctx.session.v).to.deep.equal({ list: [1, 3] });
    });
  });

  it('to undefined is a value like any other', async () => {
    const store = stubStore();
    await inRequest(
      async (ctx, sessions) => {
        expect(await sessions.of(ctx).update('n', () => undefined)).to.equal(undefined);
        expect('n' in ctx.session).to.equal(true);
      },
      { store: asStore(store), cookie: SOME_COOKIE },
    );
    expect(requests(store)[0]?.set).to.deep.equal({ n: '~-1' });
  });

  it('to a value that can not be stored is refused with its path, and leaves the key as it was', async () => {
    const store = stubStore();
    const { status } = await inRequest(
      async (ctx, sessions) => {
        const error = await errorOf(() => sessions.of(ctx).update('n', () => ({ when: /x/ })));
        expect(error).to.be.instanceOf(ValueError);
        expect(error.message).to.match(/^session\.n\.when is an instance of RegExp/);
        expect(ctx.session.n).to.equal(1);
      },
      { store: asStore(store), cookie: SOME_COOKIE },
    );
    expect([status, store.update.callCount]).to.deep.equal([200, 0]);
  });

  it('of a corrupt value starts an empty session', async () => {
    const store = stubStore();
    store.load.callsFake(() => recordOf({ n: '{', other: '1' }));
    await inRequest(
      async (ctx, sessions) => {
        expect(await sessions.of(ctx).update('n', increment)).to.equal(1);
        expect({ ...ctx.session }).to.deep.equal({ n: 1 });
      },
      { store: asStore(store), cookie: SOME_COOKIE },
    );
    expect([store.update.callCount, store.create.callCount]).to.deep.equal([0, 1]);
  });

  it('that meets a corrupt value in a conflict starts an empty session, too', async () => {
    const store = stubStore();
    store.update.returns({ outcome: 'conflict', actual: new Map([['n', '{']]) });
    await inRequest(async (ctx, sessions) => expect(await sessions.of(ctx).update('n', increment)).to.equal(1), {
      store: asStore(store),
      cookie: SOME_COOKIE,
    });
    expect([store.update.callCount, store.create.callCount]).to.deep.equal([1, 1]);
  });

  it('of a session that ended rejects with a GoneError; a handler that catches it may respond as it likes', async () => {
    const store = stubStore();
    store.update.returns({ outcome: 'gone' });
    const { status, setCookie } = await inRequest(
      async (ctx, sessions) =>
        expect(await errorOf(() => sessions.of(ctx).update('n', increment))).to.be.instanceOf(GoneError),
      { store: asStore(store), cookie: SOME_COOKIE },
    );
    expect([status, setCookie, store.create.callCount]).to.deep.equal([200, [], 0]);
  });

  it('of a session that ended responds with 409 if the error is not caught, or if something was assigned', async () => {
    for (const handler of [
      (ctx: Koa.Context, sessions: Sessions) => sessions.of(ctx).update('n', increment),
      async (ctx: Koa.Context, sessions: Sessions) => {
        ctx.session.a = 1;
        await errorOf(() => sessions.of(ctx).update('n', increment));
      },
      async (ctx: Koa.Context, sessions: Sessions) => {
        await errorOf(() => sessions.of(ctx).update('n', increment));
        ctx.session.a = 1;
      },
    ]) {
      const store = stubStore();
      store.update.returns({ outcome: 'gone' });
      const { visitor } = await createSite({ '/': handler }, { store: asStore(store) });
      const { status, setCookie } = await visitor().get('/', { headers: { cookie: SOME_COOKIE } });
      expect([status, setCookie, store.create.callCount]).to.deep.equal([409, [], 0]);
    }
  });

  it('with a store that fails rejects with an UnavailableError', async () => {
    const store = stubStore();
    store.update.rejects(new Error('down'));
    const { visitor } = await createSite(
      { '/': (ctx, sessions) => sessions.of(ctx).update('n', increment) },
      { store: asStore(store) },
    );
    const { status, setCookie } = await visitor().get('/', { headers: { cookie: SOME_COOKIE } });
    expect([status, setCookie, store.update.callCount]).to.deep.equal([503, [], 1]);
    await inRequest(
      async (ctx, sessions) =>
        expect(await errorOf(() => sessions.of(ctx).update('n', increment))).to.be.instanceOf(UnavailableError),
      { store: asStore(store), cookie: SOME_COOKIE },
    );
  });

  it('runs after a destroy() that was called before it, and begins a new session', async () => {
    const store = new MemoryStore();
    const order = observe(store);
    const { visitor } = await createSite(
      {
        '/login': (ctx) => void (ctx.session.n = 5),
        '/': (ctx, sessions) => {
          ctx.session = null;
          return sessions.of(ctx).update('n', increment);
        },
        '/get': (ctx) => ({ ...ctx.session }),
      },
      { store },
    );
    const ada = visitor();
    await ada.get('/login');
    order.length = 0;
    expect((await ada.get('/')).json()).to.equal(1);
    expect(order).to.deep.equal(['destroy', 'create']);
    expect((await ada.get('/get')).json()).to.deep.equal({ n: 1 });
  });

  it('runs before a destroy() that was called after it, and does not restore the session', async () => {
    const store = stubStore();
    await inRequest(
      async (ctx, sessions) => {
        const { session } = ctx;
        const steps = [sessions.of(ctx).update('n', increment), session.destroy()];
        expect(await Promise.all(steps)).to.deep.equal([2, undefined]);
      },
      { store: asStore(store), cookie: SOME_COOKIE },
    );
    expect(store.update.calledBefore(store.destroy)).to.equal(true);
  });

  it('delays the response until it is done, awaited or not', async () => {
    const store = stubStore();
    const gate = new Gate<unknown>();
    store.update.returns(gate.passed);
    const { visitor } = await createSite(
      { '/': (ctx, sessions) => void sessions.of(ctx).update('n', increment) },
      { store: asStore(store) },
    );
    let answered = false;
    const reply = visitor()
      .get('/', { headers: { cookie: SOME_COOKIE } })
      .then((it) => {
        answered = true;
        return it;
      });
    while (!store.update.called) await nextTurn();
    await nextTurn();
    expect(answered).to.equal(false);
    gate.open(UPDATED);
    expect((await reply).setCookie).to.have.length(1);
  });

  it('keeps what the handler assigns to the key while it is in progress', async () => {
    const store = stubStore();
    const answer = new Gate<unknown>();
    store.update.onFirstCall().returns(answer.passed);
    await inRequest(
      async (ctx, sessions) => {
        const pending = sessions.of(ctx).update('n', increment);
        while (!store.update.called) await nextTurn();
        ctx.session.n = 99;
        answer.open(UPDATED);
        await pending;
        expect(ctx.session.n).to.equal(99);
      },
      { store: asStore(store), cookie: SOME_COOKIE },
    );
    expect(Object.fromEntries(store.update.lastCall.args[1].set)).to.deep.equal({ n: '99' });
  });

  it('whose function throws after it changed the value in place leaves the value as it was', async () => {
    const store = stubStore();
    store.load.callsFake(() => recordOf({ cart: '[]' }));
    await inRequest(
      async (ctx, sessions) => {
        const change = (cart: string[]) => {
          cart.push('half done');
          throw new Error('no');
        };
        await errorOf(() => sessions.of(ctx).update('cart', change));
        expect(ctx.session.cart).to.deep.equal([]);
      },
      { store: asStore(store), cookie: SOME_COOKIE },
    );
    expect(store.update.callCount).to.equal(0);
  });

  it('to a value that can not be stored leaves nothing behind in a new session', async () => {
    const { status, setCookie } = await inRequest(async (ctx, sessions) => {
      const change = () => new URL('http://x.example');
      expect(await errorOf(() => sessions.of(ctx).update('url', change))).to.be.instanceOf(ValueError);
      expect({ ...ctx.session }).to.deep.equal({});
    });
    expect([status, setCookie]).to.deep.equal([200, []]);
  });

  it('rejects, and does not throw, where the request may not change the session', async () => {
    await inRequest(
      async (ctx, sessions) => {
        const updating = sessions.of(ctx).update('n', increment);
        expect(updating).to.be.instanceOf(Promise);
        expect((await errorOf(() => updating)).code).to.equal('WSESSION_INSECURE');
      },
      { store: new MemoryStore({ secure: true }) },
    );
  });

  describe('called by a crowd', () => {
    const handlers = {
      '/login': (ctx: Koa.Context) => void (ctx.session.n = 0),
      '/': (ctx: Koa.Context, sessions: Sessions) => sessions.of(ctx).update('n', increment),
      '/get': (ctx: Koa.Context) => ctx.session.n,
    };

    /** A store that answers a few turns of the event loop later, as one over a network does. */
    function slowStore(): Store {
      const memory = new MemoryStore();
      const { expire, secure, domain, capabilities } = memory;
      const later = async <T>(step: () => T): Promise<T> => {
        for (let i = 0; i < 3; i++) await nextTurn();
        return step();
      };
      return {
        ...{ expire, secure, domain, capabilities },
        load: (key) => later(() => memory.load(key)),
        create: (key, record) => later(() => memory.create(key, record)),
        update: (key, changes) => later(() => memory.update(key, changes)),
        destroy: (key, call) => later(() => memory.destroy(key, call)),
      };
    }

    for (const [what, create] of [
      ['a store in memory', () => new MemoryStore()],
      ['a store that has to be waited for', slowStore],
    ] as const) {
      for (const crowd of [100, 200])
        it(`${crowd} at once on one key of ${what} lose nothing, at about one call to the store each`, async () => {
          const store = create();
          const update = spy(store, 'update');
          const { visitor } = await createSite(handlers, { store });
          const ada = visitor();
          await ada.get('/login');
          update.resetHistory();
          const bodies = await Promise.all(Array.from({ length: crowd }, () => ada.get('/')));
          const numbers = bodies.map((reply) => reply.json()).sort((a, b) => a - b);
          expect(numbers).to.deep.equal(Array.from({ length: crowd }, (_, i) => i + 1));
          expect((await ada.get('/get')).json()).to.equal(crowd);
          expect(update.callCount).to.be.within(crowd, crowd * 1.1);
        });
    }

    it('of a store that reports nothing but conflicts is a 503 in the end', async () => {
      const store = stubStore();
      stub(Math, 'random').returns(0); // no pause between two tries
      store.update.callsFake((_key, { expect: expected }) => ({ outcome: 'conflict', actual: expected }));
      await inRequest(
        async (ctx, { of }) =>
          expect(await errorOf(() => of(ctx).update('n', (n) => n))).to.be.instanceOf(UnavailableError),
        { store: asStore(store), cookie: SOME_COOKIE },
      );
    });

    it('that takes longer than a second together makes no update overtake another', async () => {
      const store = new MemoryStore();
      const update = store.update.bind(store);
      const slow = stub(store, 'update').callsFake((async (...args: Parameters<typeof update>) => {
        await delay(30);
        return update(...args);
      }) as never);
      const { visitor } = await createSite(handlers, { store });
      const ada = visitor();
      await ada.get('/login');
      await Promise.all(Array.from({ length: 50 }, () => ada.get('/')));
      expect([(await ada.get('/get')).json(), slow.callCount]).to.deep.equal([50, 50]);
    });

    it('of one request, each goes on from the value of the one before', async () => {
      const store = new MemoryStore();
      const update = spy(store, 'update');
      const { visitor } = await createSite(
        {
          ...handlers,
          '/many': (ctx, sessions) =>
            Promise.all(Array.from({ length: 50 }, () => sessions.of(ctx).update('n', increment))),
        },
        { store },
      );
      const ada = visitor();
      await ada.get('/login');
      expect((await ada.get('/many')).json()).to.deep.equal(Array.from({ length: 50 }, (_, i) => i + 1));
      expect(update.callCount).to.equal(50);
    });

    it('of several sessions counts each of them exactly', async () => {
      const store = slowStore();
      const update = spy(store, 'update');
      const { visitor } = await createSite(handlers, { store });
      const visitors = Array.from({ length: 5 }, visitor);
      for (const one of visitors) await one.get('/login');
      await Promise.all(visitors.flatMap((one) => Array.from({ length: 20 }, () => one.get('/'))));
      for (const one of visitors) expect((await one.get('/get')).json()).to.equal(20);
      expect(update.callCount).to.be.within(100, 110);
    });

    it('waits a second at most for one that takes long, in its own session, and not at all in another', async () => {
      const [arrived, released] = [new Gate(), new Gate()];
      const { visitor } = await createSite({
        ...handlers,
        '/long': (ctx, sessions) =>
          sessions.of(ctx).update('n', async (n) => {
            arrived.open();
            await released.passed;
            return increment(n);
          }),
      });
      const [ada, bob] = [visitor(), visitor()];
      await Promise.all([ada.get('/login'), bob.get('/login')]);
      const long = ada.get('/long');
      await arrived.passed;
      let overtaken = false;
      const same = ada.get('/').then((reply) => {
        overtaken = true;
        return reply.json();
      });
      expect([(await bob.get('/')).json(), overtaken]).to.deep.equal([1, false]);
      expect(await same).to.equal(1);
      released.open();
      expect((await long).json()).to.equal(2);
    });

    it('of several processes loses nothing, and costs each a bounded number of tries', async () => {
      const store = slowStore();
      const update = spy(store, 'update');
      // Each middleware has turns of its own, as each process has.
      const sites = await Promise.all([1, 2, 3, 4].map(() => createSite(handlers, { store })));
      const [first] = sites as [(typeof sites)[0]];
      const ada = first.visitor();
      await ada.get('/login');
      const { cookie } = ada;
      const clients = sites.map((site) => site.visitor());
      await Promise.all(
        clients.flatMap((client) => Array.from({ length: 25 }, () => client.get('/', { headers: { cookie } }))),
      );
      expect((await ada.get('/get')).json()).to.equal(100);
      expect(update.callCount).to.be.lessThan(100 * 5);
    });
  });
});
