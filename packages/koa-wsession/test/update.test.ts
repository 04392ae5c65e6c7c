import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect } from 'chai';
import type Koa from 'koa';
import { GoneError, UnavailableError, type Updated, ValueError } from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import {
  asStore,
  createSite,
  errorOf,
  Gate,
  inRequest,
  OpenStore,
  observe,
  recordOf,
  SOME_COOKIE,
  stubStore,
  tidy,
} from './helpers.js';

const increment = (n = 0) => n + 1;

/** What the store was asked to set, and what it was to expect, call by call. */
function requests(store: ReturnType<typeof stubStore>) {
  return store.update.args.map(([, { set, delete: removed, expect: expected }]) => ({
    set: Object.fromEntries(set),
    ...(removed.length > 0 && { delete: removed }),
    ...(expected && { expect: expected }),
  }));
}

describe('update(key, change)', () => {
  afterEach(tidy);

  it('changes a key from the value that it expects to be there, and answers the new one', async () => {
    const store = stubStore();
    await inRequest(
      async (ctx) => {
        expect(await ctx.session.update('n', increment)).to.equal(2);
        expect(ctx.session.n).to.equal(2);
        expect(await ctx.session.update('added', increment)).to.equal(1);
        delete ctx.session.never;
        expect(await ctx.session.update('never', increment)).to.equal(1);
      },
      { store: asStore(store), cookie: SOME_COOKIE },
    );
    expect(requests(store)).to.deep.equal([
      { set: { n: '2' }, expect: { key: 'n', value: '1' } },
      { set: { added: '1' }, expect: { key: 'added', value: undefined } },
      { set: { never: '1' }, expect: { key: 'never', value: undefined } },
    ]);
  });

  it('starts again from the value of the moment when somebody else was faster', async () => {
    const store = stubStore();
    const conflict = (actual: string | undefined): Updated => ({ outcome: 'conflict', actual });
    store.update.onCall(0).returns(conflict('10')).onCall(1).resolves(conflict(undefined));
    store.update.onCall(2).resolves(conflict('20'));
    const seen: unknown[] = [];
    await inRequest(
      async (ctx) => {
        const answer = await ctx.session.update('n', (n) => {
          seen.push(n);
          return increment(n);
        });
        seen.push(answer, ctx.session.n);
      },
      { store: asStore(store), cookie: SOME_COOKIE },
    );
    expect(seen).to.deep.equal([1, 10, undefined, 20, 21, 21]);
    expect(requests(store).map((request) => request.expect?.value)).to.deep.equal([
      '1',
      '10',
      undefined,
      '20',
    ]);
    expect(requests(store).at(-1)?.set).to.deep.equal({ n: '21' });
  });

  it('gives each attempt a value of its own to change in place', async () => {
    const store = stubStore();
    store.load.callsFake(() => recordOf({ list: '[1]' }));
    store.update.onFirstCall().returns({ outcome: 'conflict', actual: '[1,5]' });
    const answer = await new Promise((resolve) => {
      void inRequest(
        async (ctx) => {
          resolve(
            await ctx.session.update('list', (list) => {
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
      async (ctx) => {
        const change = async (n = 0) => {
          await nextTurn();
          return n + 1;
        };
        expect(await Promise.all([1, 2, 3].map(() => ctx.session.update('n', change)))).to.deep.equal([
          2, 3, 4,
        ]);
      },
      { store: asStore(store), cookie: SOME_COOKIE },
    );
    expect(requests(store).map(({ set }) => set.n)).to.deep.equal(['2', '3', '4']);
  });

  it('whose function throws or rejects passes that on, and stores nothing', async () => {
    const mine = new Error('mine');
    for (const cookie of [SOME_COOKIE, 'none=1']) {
      const store = stubStore();
      const { status, setCookie } = await inRequest(
        async (ctx) => {
          const throwing = () => {
            throw mine;
          };
          expect(await errorOf(() => ctx.session.update('n', throwing))).to.equal(mine);
          expect(await errorOf(() => ctx.session.update('n', () => Promise.reject(mine)))).to.equal(mine);
        },
        { store: asStore(store), cookie },
      );
      expect([status, setCookie, store.update.callCount, store.create.callCount]).to.deep.equal([
        200,
        [],
        0,
        0,
      ]);
    }
  });

  it('to the value that it was loaded with asks the store whether it still is', async () => {
    const store = stubStore();
    store.update.onFirstCall().returns({ outcome: 'conflict', actual: '0' });
    await inRequest(async (ctx) => expect(await ctx.session.update('n', (n) => Math.max(n, 1))).to.equal(1), {
      store: asStore(store),
      cookie: SOME_COOKIE,
    });
    expect(requests(store)).to.deep.equal([
      { set: { n: '1' }, expect: { key: 'n', value: '1' } },
      { set: { n: '1' }, expect: { key: 'n', value: '0' } },
    ]);
  });

  it('to the same value stores nothing where nobody else can have changed it', async () => {
    const store = new OpenStore();
    const { visitor } = await createSite(
      {
        '/': (ctx) => void (ctx.session.n = 1),
        '/same': (ctx) => ctx.session.update('n', (n) => n),
      },
      { store },
    );
    const ada = visitor();
    await ada.get('/');
    expect([(await ada.get('/same')).setCookie, store.calls]).to.deep.equal([[], ['create', 'load']]);
  });

  it('of a new session makes its record', async () => {
    const store = stubStore();
    const { setCookie } = await inRequest(
      async (ctx) => {
        ctx.session.before = 1;
        expect(await ctx.session.update('n', increment)).to.equal(1);
        expect(ctx.session.isNew).to.equal(false);
        expect(await ctx.session.update('n', increment)).to.equal(2);
      },
      { store: asStore(store) },
    );
    expect(Object.fromEntries(store.create.firstCall.args[1].entries)).to.deep.equal({ before: '1', n: '1' });
    expect(requests(store)).to.deep.equal([{ set: { n: '2' }, expect: { key: 'n', value: '1' } }]);
    expect(setCookie).to.have.length(1);
  });

  it('stores what was assigned before, in the same step', async () => {
    const store = stubStore();
    store.load.callsFake(() => recordOf({ n: '1', gone: '1' }));
    await inRequest(
      async (ctx) => {
        ctx.session.other = 'x';
        delete ctx.session.gone;
        await ctx.session.update('n', increment);
        expect({ ...ctx.session }).to.deep.equal({ other: 'x', n: 2 });
      },
      { store: asStore(store), cookie: SOME_COOKIE },
    );
    expect(requests(store)).to.deep.equal([
      { set: { other: '"x"', n: '2' }, delete: ['gone'], expect: { key: 'n', value: '1' } },
    ]);
  });

  it('of a key that this request assigned or deleted is stored whatever others did to it meanwhile', async () => {
    for (const change of [
      (ctx: Koa.Context) => void (ctx.session.n = 10),
      (ctx: Koa.Context) => void delete ctx.session.n,
    ]) {
      const store = stubStore();
      await inRequest(
        async (ctx) => {
          change(ctx);
          await ctx.session.update('n', increment);
        },
        { store: asStore(store), cookie: SOME_COOKIE },
      );
      expect(store.update.firstCall.args[1].expect).to.equal(undefined);
      expect(store.update.firstCall.args[1].delete).to.deep.equal([]);
    }
  });

  it('of a key that this request assigned counts on from that', async () => {
    const { visitor } = await createSite({
      '/login': (ctx) => void (ctx.session.n = 1),
      '/': async (ctx) => {
        ctx.session.n = 10;
        return [await ctx.session.update('n', increment), ctx.session.n];
      },
      '/get': (ctx) => ctx.session.n,
    });
    const ada = visitor();
    await ada.get('/login');
    expect((await ada.get('/')).json()).to.deep.equal([11, 11]);
    expect((await ada.get('/get')).json()).to.equal(11);
  });

  it('answers what is stored, and not what the function gave', async () => {
    await inRequest(async (ctx) => {
      ctx.session.a = 1;
      await ctx.session.save();
      const given = { list: [1] };
      const answer = await ctx.session.update('v', () => given);
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
      async (ctx) => {
        expect(await ctx.session.update('n', () => undefined)).to.equal(undefined);
        expect('n' in ctx.session).to.equal(true);
      },
      { store: asStore(store), cookie: SOME_COOKIE },
    );
    expect(requests(store)[0]?.set).to.deep.equal({ n: '~-1' });
  });

  it('to what can not be stored is refused with its path, and stores nothing', async () => {
    const store = stubStore();
    const { status } = await inRequest(
      async (ctx) => {
        const error = await errorOf(() => ctx.session.update('n', () => ({ when: /x/ })));
        expect(error).to.be.instanceOf(ValueError);
        expect(error.message).to.match(/^session\.n\.when is an instance of RegExp/);
        expect(ctx.session.n).to.equal(1);
      },
      { store: asStore(store), cookie: SOME_COOKIE },
    );
    expect([status, store.update.callCount]).to.deep.equal([200, 0]);
  });

  it('of a corrupt value is one of an empty session', async () => {
    const store = stubStore();
    store.load.callsFake(() => recordOf({ n: '{', other: '1' }));
    await inRequest(
      async (ctx) => {
        expect(await ctx.session.update('n', increment)).to.equal(1);
        expect({ ...ctx.session }).to.deep.equal({ n: 1 });
      },
      { store: asStore(store), cookie: SOME_COOKIE },
    );
    expect([store.update.callCount, store.create.callCount]).to.deep.equal([0, 1]);
  });

  it('where a corrupt value got in between is one of an empty session, too', async () => {
    const store = stubStore();
    store.update.returns({ outcome: 'conflict', actual: '{' });
    await inRequest(async (ctx) => expect(await ctx.session.update('n', increment)).to.equal(1), {
      store: asStore(store),
      cookie: SOME_COOKIE,
    });
    expect([store.update.callCount, store.create.callCount]).to.deep.equal([1, 1]);
  });

  it('of a session that ended rejects with a GoneError; the answer is up to the handler', async () => {
    const store = stubStore();
    store.update.returns({ outcome: 'gone' });
    const { status, setCookie } = await inRequest(
      async (ctx) =>
        expect(await errorOf(() => ctx.session.update('n', increment))).to.be.instanceOf(GoneError),
      { store: asStore(store), cookie: SOME_COOKIE },
    );
    expect([status, setCookie, store.create.callCount]).to.deep.equal([200, [], 0]);
  });

  it('of a session that ended is a 409 where it is not caught, or where something was assigned', async () => {
    for (const handler of [
      (ctx: Koa.Context) => ctx.session.update('n', increment),
      async (ctx: Koa.Context) => {
        ctx.session.a = 1;
        await errorOf(() => ctx.session.update('n', increment));
      },
      async (ctx: Koa.Context) => {
        await errorOf(() => ctx.session.update('n', increment));
        ctx.session.a = 1;
      },
    ]) {
      const store = stubStore();
      store.update.returns({ outcome: 'gone' });
      const { visitor } = await createSite({ '/': handler }, { store: asStore(store) });
      const { status, setCookie } = await visitor().get('/', { headers: { cookie: SOME_COOKIE } });
      expect([status, setCookie, store.update.callCount]).to.deep.equal([409, [], 1]);
    }
  });

  it('with a store that fails rejects with an UnavailableError', async () => {
    const store = stubStore();
    store.update.rejects(new Error('down'));
    const { visitor } = await createSite(
      { '/': (ctx) => ctx.session.update('n', increment) },
      { store: asStore(store) },
    );
    const { status, setCookie } = await visitor().get('/', { headers: { cookie: SOME_COOKIE } });
    expect([status, setCookie, store.update.callCount]).to.deep.equal([503, [], 1]);
    await inRequest(
      async (ctx) =>
        expect(await errorOf(() => ctx.session.update('n', increment))).to.be.instanceOf(UnavailableError),
      { store: asStore(store), cookie: SOME_COOKIE },
    );
  });

  it('comes after a destroy() asked for before it, and begins a new session', async () => {
    const store = new MemoryStore();
    const order = observe(store);
    const { visitor } = await createSite(
      {
        '/login': (ctx) => void (ctx.session.n = 5),
        '/': (ctx) => {
          ctx.session = null;
          return ctx.session.update('n', increment);
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

  it('comes before a destroy() asked for after it', async () => {
    const store = stubStore();
    await inRequest(
      async (ctx) => {
        const { session } = ctx;
        const steps = [session.update('n', increment), session.destroy()];
        expect(await Promise.all(steps)).to.deep.equal([2, undefined]);
      },
      { store: asStore(store), cookie: SOME_COOKIE },
    );
    expect(store.update.calledBefore(store.destroy)).to.equal(true);
  });

  it('holds the response back until it is done, awaited or not', async () => {
    const store = stubStore();
    const gate = new Gate<unknown>();
    store.update.returns(gate.passed);
    const { visitor } = await createSite(
      { '/': (ctx) => void ctx.session.update('n', increment) },
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
    gate.open({ outcome: 'updated' });
    expect((await reply).setCookie).to.have.length(1);
  });
});
