import { expect } from 'chai';
import { OptionError } from 'koa-wsession';
import {
  asStore,
  createSite,
  errorOf,
  inRequest,
  recordOf,
  SOME_COOKIE,
  stubStore,
  tidy,
} from './helpers.js';

describe('expireIn(seconds)', () => {
  afterEach(tidy);

  for (const bad of [0, -1, Number.NaN, Infinity, '60', undefined, null, 5n, {}, new Date()]) {
    it(`refuses ${typeof bad} ${String(bad)}`, async () => {
      const store = stubStore();
      await inRequest(
        async (ctx) => {
          const error = await errorOf(() => ctx.session.expireIn(bad as number));
          expect(error).to.be.instanceOf(OptionError);
          expect(error.code).to.equal('WSESSION_OPTION');
          expect(error.message).to.match(
            /^expireIn\(seconds\) is .+, but it takes a number of seconds over 0, up to ten years\.$/,
          );
        },
        { store: asStore(store), cookie: SOME_COOKIE },
      );
      expect(store.update.callCount).to.equal(0);
    });
  }

  it("sets this session's lifetime, in the store and in the cookie, without another change", async () => {
    const store = stubStore();
    const { setCookie } = await inRequest((ctx) => ctx.session.expireIn(86_400), {
      store: asStore(store),
      cookie: SOME_COOKIE,
    });
    expect(store.update.callCount).to.equal(1);
    const { set, expiresAt } = store.update.firstCall.args[1];
    expect(expiresAt).to.be.within(Date.now() + 86_390_000, Date.now() + 86_400_000);
    expect([...set.values()]).to.deep.equal(['86400']);
    expect(setCookie[0]).to.match(/; Max-Age=86400;/);
  });

  it('to what it is already resets the expiration', async () => {
    const store = stubStore();
    store.load.callsFake(() => recordOf({ n: '1', '\0expire': '60' }));
    await inRequest((ctx) => ctx.session.expireIn(60), { store: asStore(store), cookie: SOME_COOKIE });
    expect(store.update.callCount).to.equal(1);
    expect(store.update.firstCall.args[1].set.size).to.equal(0);
  });

  it('stays with the session: later changes count on from it', async () => {
    const store = stubStore();
    store.load.callsFake(() => recordOf({ n: '1', '\0expire': '60' }));
    const { setCookie } = await inRequest((ctx) => void (ctx.session.n = 2), {
      store: asStore(store),
      cookie: SOME_COOKIE,
    });
    expect(store.update.firstCall.args[1].expiresAt).to.be.within(Date.now() + 59_000, Date.now() + 60_000);
    expect(setCookie[0]).to.match(/; Max-Age=60;/);
  });

  it('counts in a new session, too, and stores nothing by itself', async () => {
    const store = stubStore();
    await inRequest(
      async (ctx) => {
        ctx.session.expireIn(60);
        await ctx.session.save();
        expect(store.create.callCount).to.equal(0);
        ctx.session.a = 1;
      },
      { store: asStore(store) },
    );
    const { createdAt, expiresAt } = store.create.firstCall.args[1];
    expect(expiresAt - createdAt).to.be.within(60_000, 60_050);
  });

  it('survives ctx.session = {…}, and ends with the session', async () => {
    const { visitor } = await createSite({
      '/': (ctx) => {
        ctx.session.expireIn(60);
        ctx.session = { a: 1 };
      },
      '/change': (ctx) => void (ctx.session = { b: 1 }),
      '/switch': (ctx) => {
        ctx.session = null;
        ctx.session.c = 1;
      },
    });
    const ada = visitor();
    const ages = [];
    for (const path of ['/', '/change', '/switch'])
      ages.push(/Max-Age=(\d+)/.exec(String((await ada.get(path)).setCookie[0]))?.[1]);
    expect(ages).to.deep.equal(['60', '60', '3600']);
  });

  it('never goes beyond absoluteTimeout', async () => {
    const store = stubStore();
    const createdAt = Date.now() - 50_000;
    store.load.callsFake(() => recordOf({ n: '1' }, createdAt));
    const { setCookie } = await inRequest((ctx) => ctx.session.expireIn(86_400), {
      store: asStore(store),
      cookie: SOME_COOKIE,
      absoluteTimeout: 100,
    });
    expect(store.update.firstCall.args[1].expiresAt).to.equal(createdAt + 100_000);
    expect(setCookie[0]).to.match(/; Max-Age=(49|50);/);
  });

  it('that the store brings back as nonsense is as if never called', async () => {
    for (const nonsense of ['-5', '0', '"60"', 'null', '~-3', '[60]']) {
      const store = stubStore();
      store.load.callsFake(() => recordOf({ n: '1', '\0expire': nonsense }));
      const { setCookie, status } = await inRequest((ctx) => void (ctx.session.n = 2), {
        store: asStore(store),
        cookie: SOME_COOKIE,
      });
      expect([status, setCookie[0]?.includes('; Max-Age=3600;')], nonsense).to.deep.equal([200, true]);
    }
  });

  it('that the store brings back corrupt makes the visitor an anonymous one', async () => {
    const store = stubStore();
    store.load.callsFake(() => recordOf({ n: '1', '\0expire': '{' }));
    await inRequest(
      (ctx) => {
        expect([ctx.session.isNew, ctx.session.n]).to.deep.equal([true, undefined]);
        ctx.session.a = 1;
      },
      { store: asStore(store), cookie: SOME_COOKIE },
    );
    expect([store.create.callCount, store.update.callCount]).to.deep.equal([1, 0]);
  });

  it('is seen by what save() stores, and by what comes after it', async () => {
    const store = stubStore();
    await inRequest(
      async (ctx) => {
        ctx.session.a = 1;
        await ctx.session.save();
        ctx.session.expireIn(60);
      },
      { store: asStore(store), cookie: SOME_COOKIE },
    );
    const [first, second] = store.update.args.map(([, { expiresAt }]) => expiresAt - Date.now());
    expect([store.update.callCount, Number(first) > 3_590_000, Number(second) <= 60_000]).to.deep.equal([
      2,
      true,
      true,
    ]);
  });
});
