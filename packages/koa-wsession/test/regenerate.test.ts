import { expect } from 'chai';
import type Koa from 'koa';
import { GoneError, UnavailableError } from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import { stub } from 'sinon';
import {
  asStore,
  createSite,
  errorOf,
  inRequest,
  OpenStore,
  observe,
  recordOf,
  SOME_COOKIE,
  type StubStore,
  stubStore,
  tidy,
} from './helpers.js';

const handlers = {
  '/login': async (ctx: Koa.Context) => {
    ctx.session.user = 'ada';
    await ctx.session.regenerate();
  },
  '/visit': (ctx: Koa.Context) => void (ctx.session.visited = true),
  '/get': (ctx: Koa.Context) => ({ ...ctx.session }),
};

function idOf(setCookie: readonly string[]): string | undefined {
  return /^wsession=([\w-]+);/.exec(setCookie[0] ?? '')?.[1];
}

describe('regenerate()', () => {
  afterEach(tidy);

  it('makes the new record before it ends the old one, which never gets what was assigned', async () => {
    const store = stubStore();
    store.load.callsFake(() => recordOf({ n: '1', gone: '2' }, 5000 + Date.now() - 10_000));
    store.destroy.callsFake(() => recordOf({ n: '1', gone: '2' }));
    const reply = await inRequest(
      async (ctx) => {
        ctx.session.user = 'ada';
        delete ctx.session.gone;
        await ctx.session.regenerate();
        expect({ ...ctx.session }).to.deep.equal({ n: 1, user: 'ada' });
        expect(ctx.session.isNew).to.equal(false);
      },
      { store: asStore(store), cookie: SOME_COOKIE },
    );
    const [oldKey] = store.load.firstCall.args;
    const [newKey, record] = store.create.firstCall.args;
    expect(store.create.calledBefore(store.destroy)).to.equal(true);
    expect(store.destroy.args.map(([key]) => key)).to.deep.equal([oldKey]);
    expect(newKey).to.not.equal(oldKey);
    expect(Object.fromEntries(record.entries)).to.deep.equal({ n: '1', user: '"ada"' });
    expect(record.createdAt).to.be.within(Date.now() - 6000, Date.now() - 4000);
    expect(record.expiresAt).to.be.within(Date.now() + 3_590_000, Date.now() + 3_600_000);
    expect(store.update.callCount).to.equal(0);
    expect(idOf(reply.setCookie)).to.match(/^[\w-]{32}$/);
    expect(SOME_COOKIE).to.not.include(idOf(reply.setCookie));
  });

  it('lets what comes afterwards go to the new record', async () => {
    const store = stubStore();
    await inRequest(
      async (ctx) => {
        await ctx.session.regenerate();
        ctx.session.later = 1;
      },
      { store: asStore(store), cookie: SOME_COOKIE },
    );
    const [key, changes] = store.update.firstCall.args;
    expect(key).to.equal(store.create.firstCall.args[0]);
    expect(Object.fromEntries(changes.set)).to.deep.equal({ later: '1' });
  });

  it('carries over what others wrote, changed and deleted meanwhile, except for the keys of this request', async () => {
    const store = stubStore();
    store.load.callsFake(() => recordOf({ same: '1', theirs: '1', mine: '1', dropped: '1', kept: '1' }));
    store.destroy.callsFake(() =>
      recordOf({ same: '1', theirs: '2', mine: '2', added: '3', kept: '9', alsoMine: '9' }),
    );
    await inRequest(
      async (ctx) => {
        const { session } = ctx;
        expect(session.theirs).to.equal(1);
        session.mine = 5;
        session.alsoMine = 6;
        delete session.kept;
        await session.regenerate();
        expect({ ...session }).to.deep.equal({ same: 1, theirs: 2, mine: 5, alsoMine: 6, added: 3 });
      },
      { store: asStore(store), cookie: SOME_COOKIE },
    );
    expect(store.update.callCount).to.equal(1);
    const [key, { set, delete: removed }] = store.update.firstCall.args;
    expect(key).to.equal(store.create.firstCall.args[0]);
    expect(Object.fromEntries(set)).to.deep.equal({ theirs: '2', added: '3' });
    expect(removed).to.deep.equal(['dropped']);
  });

  it('carries over that others only deleted', async () => {
    const store = stubStore();
    store.load.callsFake(() => recordOf({ kept: '1', dropped: '1' }));
    store.destroy.callsFake(() => recordOf({ kept: '1' }));
    await inRequest(
      async (ctx) => {
        await ctx.session.regenerate();
        expect({ ...ctx.session }).to.deep.equal({ kept: 1 });
      },
      { store: asStore(store), cookie: SOME_COOKIE },
    );
    expect(store.update.args.map(([, { delete: removed }]) => removed)).to.deep.equal([['dropped']]);
  });

  it('of a session without a record asks the store for nothing: it gets its id with its record', async () => {
    const store = stubStore();
    store.load.returns(undefined);
    const { setCookie } = await inRequest((ctx) => ctx.session.regenerate(), {
      store: asStore(store),
      cookie: SOME_COOKIE,
    });
    expect([store.create.callCount, store.destroy.callCount, setCookie]).to.deep.equal([0, 0, []]);
    const { visitor } = await createSite(handlers);
    const ada = visitor();
    const planted = 'B'.repeat(32);
    ada.jar.set('wsession', planted);
    await ada.get('/login');
    expect(ada.jar.get('wsession')).to.match(/^[\w-]{32}$/);
    expect(ada.jar.get('wsession')).to.not.equal(planted);
    expect((await ada.get('/get')).json()).to.deep.equal({ user: 'ada' });
  });

  it('twice leaves one record', async () => {
    const store = new MemoryStore();
    const order = observe(store);
    const { visitor } = await createSite(
      {
        ...handlers,
        '/twice': async (ctx) => {
          await ctx.session.regenerate();
          await ctx.session.regenerate();
        },
      },
      { store },
    );
    const ada = visitor();
    await ada.get('/visit');
    const { setCookie } = await ada.get('/twice');
    expect(order).to.deep.equal(['create', 'create', 'destroy', 'create', 'destroy']);
    expect(setCookie).to.have.length(1);
    expect((await ada.get('/get')).json()).to.deep.equal({ visited: true });
  });

  describe('with a store that fails', () => {
    async function attempt(prepare: (store: MemoryStore) => void) {
      const store = new MemoryStore();
      const { visitor } = await createSite(handlers, { store });
      const ada = visitor();
      const old = visitor();
      await ada.get('/visit');
      old.jar.set('wsession', String(ada.jar.get('wsession')));
      prepare(store);
      const { status, setCookie } = await ada.get('/login');
      const contents = async () => [(await ada.get('/get')).json(), (await old.get('/get')).json()];
      return { status, setCookie, contents };
    }

    it('to make the new record is a 503, and leaves the old session as it was', async () => {
      const { status, setCookie, contents } = await attempt((store) =>
        stub(store, 'create').throws(new Error('down')),
      );
      expect([status, setCookie]).to.deep.equal([503, []]);
      expect(await contents()).to.deep.equal([{ visited: true }, { visited: true }]);
    });

    it('to end the old record is a 503 that hands nothing out: somebody may have logged out meanwhile', async () => {
      const { status, setCookie, contents } = await attempt((store) =>
        stub(store, 'destroy').throws(new Error('down')),
      );
      expect([status, setCookie.length]).to.deep.equal([503, 0]);
      expect((await contents())[0]).to.deep.equal({ visited: true });
    });

    it('to end the old record leaves the cookie of the old session, where save() set it in this request', async () => {
      const store = stubStore();
      store.destroy.rejects(new Error('down'));
      const { setCookie } = await inRequest(
        async (ctx) => {
          ctx.session.a = 1;
          await ctx.session.save();
          expect(await errorOf(() => ctx.session.regenerate())).to.be.instanceOf(UnavailableError);
        },
        { store: asStore(store), cookie: SOME_COOKIE },
      );
      expect(setCookie.map((line) => line.split(';')[0])).to.deep.equal([SOME_COOKIE]);
    });

    it('to carry over is a 503 that delivers the new cookie', async () => {
      const store = stubStore();
      store.destroy.callsFake(() => recordOf({ n: '1', added: '1' }));
      store.update.rejects(new Error('down'));
      const { setCookie } = await inRequest(
        async (ctx) => {
          expect(await errorOf(() => ctx.session.regenerate())).to.be.instanceOf(UnavailableError);
        },
        { store: asStore(store), cookie: SOME_COOKIE },
      );
      expect(setCookie).to.have.length(1);
    });
  });

  describe('of a session that ended meanwhile', () => {
    async function attempt(handler: (ctx: Koa.Context, store: StubStore) => unknown) {
      const store = stubStore();
      store.destroy.returns(undefined);
      const { visitor } = await createSite({ '/': (ctx) => handler(ctx, store) }, { store: asStore(store) });
      return { store, reply: await visitor().get('/', { headers: { cookie: SOME_COOKIE } }) };
    }
    const expectUndone = (store: StubStore) => {
      const [oldKey] = store.load.firstCall.args;
      const [newKey] = store.create.firstCall.args;
      expect(store.destroy.args.map(([key]) => key)).to.deep.equal([oldKey, newKey]);
      expect(store.update.callCount).to.equal(0);
    };

    it('is a 409 that ends the new record again and sets no cookie', async () => {
      const { store, reply } = await attempt((ctx) => ctx.session.regenerate());
      expect([reply.status, reply.setCookie]).to.deep.equal([409, []]);
      expectUndone(store);
    });

    it('rejects with a GoneError, and so does what comes after it', async () => {
      const codes: unknown[] = [];
      const { store, reply } = await attempt(async (ctx, { update }) => {
        expect(await errorOf(() => ctx.session.regenerate())).to.be.instanceOf(GoneError);
        update.returns({ outcome: 'gone' });
        ctx.session.a = 1;
        codes.push((await errorOf(() => ctx.session.save())).code);
        codes.push((await errorOf(() => ctx.session.update('n', () => 5))).code);
        return 'all is well';
      });
      expect(codes).to.deep.equal(['WSESSION_GONE', 'WSESSION_GONE']);
      expect([reply.status, reply.setCookie]).to.deep.equal([409, []]);
      expect(store.create.callCount).to.equal(1);
    });
  });

  it('with a value that can not be stored changes nothing', async () => {
    const store = stubStore();
    const { status } = await inRequest(
      async (ctx) => {
        ctx.session.bad = /x/;
        expect((await errorOf(() => ctx.session.regenerate())).code).to.equal('WSESSION_VALUE');
        delete ctx.session.bad;
      },
      { store: asStore(store), cookie: SOME_COOKIE },
    );
    expect([status, store.create.callCount, store.destroy.callCount]).to.deep.equal([200, 0, 0]);
  });

  it('once the headers are sent is a LateError: the visitor could not be told', async () => {
    const store = stubStore();
    const { status } = await inRequest(
      async (ctx) => {
        ctx.session.n;
        ctx.respond = false;
        ctx.res.flushHeaders();
        expect((await errorOf(() => ctx.session.regenerate())).code).to.equal('WSESSION_LATE');
        ctx.res.end();
      },
      { store: asStore(store), cookie: SOME_COOKIE },
    );
    expect([status, store.create.callCount, store.destroy.callCount]).to.deep.equal([404, 0, 0]);
  });

  it('delivers the new cookie on an error that comes after it', async () => {
    const { visitor } = await createSite({
      ...handlers,
      '/fail': async (ctx) => {
        await ctx.session.regenerate();
        ctx.throw(418);
      },
    });
    const ada = visitor();
    await ada.get('/visit');
    const before = ada.jar.get('wsession');
    expect((await ada.get('/fail')).status).to.equal(418);
    expect(ada.jar.get('wsession')).to.not.equal(before);
    expect((await ada.get('/get')).json()).to.deep.equal({ visited: true });
  });

  it('with a store that seals gives a new token, and ends the old one', async () => {
    const store = new OpenStore();
    const { visitor } = await createSite(handlers, { store });
    const ada = visitor();
    const old = visitor();
    await ada.get('/visit');
    old.jar.set('wsession', String(ada.jar.get('wsession')));
    store.calls.length = 0;
    await ada.get('/login');
    expect(store.calls).to.deep.equal(['load', 'create', 'destroy']);
    expect((await ada.get('/get')).json()).to.deep.equal({ visited: true, user: 'ada' });
    expect((await old.get('/get')).json()).to.deep.equal({});
  });
});
