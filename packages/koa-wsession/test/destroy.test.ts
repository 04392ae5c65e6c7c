import { expect } from 'chai';
import type Koa from 'koa';
import { UnavailableError, ValueError } from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import {
  asStore,
  createSite,
  errorOf,
  Gate,
  inRequest,
  OpenStore,
  observe,
  SOME_COOKIE,
  stubStore,
  tidy,
} from './helpers.js';

const ways: ReadonlyArray<[name: string, end: (ctx: Koa.Context) => unknown]> = [
  ['destroy()', (ctx) => ctx.session.destroy()],
  ['ctx.session = null', (ctx) => void (ctx.session = null)],
];

const DELETION =
  /^wsession=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=\/; HttpOnly; SameSite=Lax$/;

for (const [name, end] of ways) {
  describe(name, () => {
    afterEach(tidy);

    it('ends the record, and has the browser delete the cookie', async () => {
      const store = stubStore();
      const { status, setCookie, headers } = await inRequest((ctx) => void end(ctx), {
        store: asStore(store),
        cookie: SOME_COOKIE,
      });
      expect(store.destroy.args.map(([key]) => key)).to.deep.equal([store.load.firstCall.args[0]]);
      expect([status, setCookie.length, headers['cache-control']]).to.deep.equal([200, 1, 'no-store']);
      expect(setCookie[0]).to.match(DELETION);
    });

    it('deletes the cookie where it was set: same name, path and domain', async () => {
      const store = { ...stubStore(), domain: 'a.example', secure: true };
      const { visitor, app } = await createSite(
        { '/': (ctx) => void end(ctx) },
        { store: asStore(store), name: '__Secure-x', path: '/app', sameSite: 'none', partitioned: true },
      );
      app.proxy = true;
      const headers = { cookie: SOME_COOKIE.replace('wsession', '__Secure-x'), 'x-forwarded-proto': 'https' };
      const { setCookie } = await visitor().get('/', { headers });
      expect(setCookie).to.deep.equal([
        '__Secure-x=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/app; Domain=a.example; Secure; HttpOnly; SameSite=None; Partitioned',
      ]);
    });

    it('of a session without a record asks the store for nothing, and sets no cookie', async () => {
      const store = stubStore();
      store.load.returns(undefined);
      const { setCookie, status } = await inRequest(
        (ctx) => {
          ctx.session.a = 1;
          return end(ctx);
        },
        { store: asStore(store), cookie: SOME_COOKIE },
      );
      expect([status, setCookie, store.destroy.callCount, store.create.callCount]).to.deep.equal([
        200,
        [],
        0,
        0,
      ]);
    });

    it('of a session that ended already is no error, and leaves the cookie alone', async () => {
      for (const answer of [undefined, Promise.resolve(undefined)]) {
        const store = stubStore();
        store.destroy.returns(answer);
        const { setCookie, status } = await inRequest((ctx) => void end(ctx), {
          store: asStore(store),
          cookie: SOME_COOKIE,
        });
        expect([status, setCookie]).to.deep.equal([200, []]);
      }
    });

    it('of a session that ended since save() set its cookie hands nothing out', async () => {
      const store = stubStore();
      store.destroy.returns(undefined);
      const { setCookie } = await inRequest(
        async (ctx) => {
          ctx.session.a = 1;
          await ctx.session.save();
          await end(ctx);
        },
        { store: asStore(store), cookie: SOME_COOKIE },
      );
      expect(setCookie).to.deep.equal([]);
    });

    it('counts, and so does what is assigned then, while the request waits for a save() that nobody awaited', async () => {
      const store = stubStore();
      const saved = new Gate<unknown>();
      store.update.returns(saved.passed);
      const { status } = await inRequest(
        (ctx) => {
          ctx.session.a = 1;
          void ctx.session.save();
          setImmediate(() => {
            void end(ctx);
            ctx.session.fresh = 1;
            saved.open({ outcome: 'updated' });
          });
        },
        { store: asStore(store), cookie: SOME_COOKIE },
      );
      expect([status, store.destroy.callCount, store.create.callCount]).to.deep.equal([200, 1, 1]);
      expect(Object.fromEntries(store.create.firstCall.args[1].entries)).to.deep.equal({ fresh: '1' });
    });

    it('twice asks the store once', async () => {
      const store = stubStore();
      await inRequest(
        async (ctx) => {
          await end(ctx);
          await end(ctx);
        },
        { store: asStore(store), cookie: SOME_COOKIE },
      );
      expect(store.destroy.callCount).to.equal(1);
    });

    it('leaves nothing behind: no key, no message, no lifetime', async () => {
      const store = stubStore();
      await inRequest(
        async (ctx) => {
          const { session } = ctx;
          Object.assign(session, { a: 1, n: 2 });
          session.flash('note', 'x');
          session.expireIn(5);
          await end(ctx);
          expect({ ...session }).to.deep.equal({});
          expect([session.n, 'n' in session, session.flash('note'), session.isNew]).to.deep.equal([
            undefined,
            false,
            undefined,
            true,
          ]);
          session.fresh = 1;
        },
        { store: asStore(store), cookie: SOME_COOKIE },
      );
      const { entries, createdAt, expiresAt } = store.create.firstCall.args[1];
      expect([...entries]).to.deep.equal([['fresh', '1']]);
      expect(expiresAt - createdAt).to.be.within(3_600_000, 3_600_100);
      expect(store.update.callCount).to.equal(0);
    });

    it('lets a new session begin, with an id of its own, after the old one ended', async () => {
      const store = new MemoryStore();
      const { visitor } = await createSite(
        {
          '/login': (ctx) => void (ctx.session.user = 'ada'),
          '/switch': async (ctx) => {
            await end(ctx);
            ctx.session.user = 'bob';
          },
          '/get': (ctx) => ctx.session.user ?? null,
        },
        { store },
      );
      const ada = visitor();
      await ada.get('/login');
      const old = visitor();
      old.jar.set('wsession', String(ada.jar.get('wsession')));
      const order = observe(store);
      const { setCookie } = await ada.get('/switch');
      expect(order).to.deep.equal(['destroy', 'create']);
      expect(setCookie).to.have.length(1);
      expect(ada.jar.get('wsession')).to.not.equal(old.jar.get('wsession'));
      expect([(await ada.get('/get')).json(), (await old.get('/get')).json()]).to.deep.equal(['bob', null]);
    });

    it('is delivered on an error that comes after it', async () => {
      const store = stubStore();
      const { visitor } = await createSite(
        {
          '/': async (ctx) => {
            await end(ctx);
            ctx.throw(403);
          },
        },
        { store: asStore(store) },
      );
      const { status, setCookie } = await visitor().get('/', { headers: { cookie: SOME_COOKIE } });
      expect([status, setCookie.length]).to.deep.equal([403, 1]);
      expect(setCookie[0]).to.match(DELETION);
    });

    it('that fails is a 503 that leaves the cookie, even where it was caught, and the store is asked once', async () => {
      const store = stubStore();
      store.destroy.rejects(new Error('down'));
      const { visitor, errors } = await createSite(
        {
          '/': async (ctx) => {
            await Promise.resolve(end(ctx)).catch(() => undefined);
            return 'logged out';
          },
        },
        { store: asStore(store) },
      );
      const { status, setCookie } = await visitor().get('/', { headers: { cookie: SOME_COOKIE } });
      expect([status, setCookie, store.destroy.callCount]).to.deep.equal([503, [], 1]);
      expect(errors.map(({ code }) => code)).to.deep.equal(['WSESSION_UNAVAILABLE']);
    });

    it('with a store that seals ends the token, too', async () => {
      const store = new OpenStore();
      const { visitor } = await createSite(
        {
          '/login': (ctx) => void (ctx.session.user = 'ada'),
          '/logout': (ctx) => void end(ctx),
          '/get': (ctx) => ctx.session.user ?? null,
        },
        { store },
      );
      const ada = visitor();
      await ada.get('/login');
      const old = visitor();
      old.jar.set('wsession', String(ada.jar.get('wsession')));
      expect((await ada.get('/logout')).setCookie[0]).to.match(DELETION);
      expect((await old.get('/get')).json()).to.equal(null);
    });
  });
}

describe('destroy()', () => {
  afterEach(tidy);

  it('resolves once the store has answered', async () => {
    const store = stubStore();
    const gate = new Gate<unknown>();
    store.destroy.returns(gate.passed);
    let destroyed = false;
    await inRequest(
      async (ctx) => {
        const destroying = ctx.session.destroy().then(() => {
          destroyed = true;
        });
        await new Promise(setImmediate);
        expect([store.destroy.callCount, destroyed]).to.deep.equal([1, false]);
        gate.open(undefined);
        await destroying;
        expect(destroyed).to.equal(true);
      },
      { store: asStore(store), cookie: SOME_COOKIE },
    );
  });

  it('rejects with the UnavailableError, and can be tried again', async () => {
    const store = stubStore();
    store.destroy.onFirstCall().rejects(new Error('down'));
    const { status, setCookie } = await inRequest(
      async (ctx) => {
        expect(await errorOf(() => ctx.session.destroy())).to.be.instanceOf(UnavailableError);
        await ctx.session.destroy();
      },
      { store: asStore(store), cookie: SOME_COOKIE },
    );
    expect([status, setCookie.length, store.destroy.callCount]).to.deep.equal([200, 1, 2]);
  });
});

describe('ctx.session = null', () => {
  afterEach(tidy);

  it('is carried out at the end of the request, or by save()', async () => {
    const store = stubStore();
    await inRequest(
      async (ctx) => {
        ctx.session = null;
        await new Promise(setImmediate);
        expect(store.destroy.callCount).to.equal(0);
        await ctx.session.save();
        expect(store.destroy.callCount).to.equal(1);
      },
      { store: asStore(store), cookie: SOME_COOKIE },
    );
    expect(store.destroy.callCount).to.equal(1);
  });

  it('is carried out by save(), also where what was assigned since can not be stored', async () => {
    const store = stubStore();
    store.destroy.resolves(undefined);
    await inRequest(
      async (ctx) => {
        ctx.session = null;
        ctx.session.a = { b: () => 1 } as never;
        expect(await errorOf(() => ctx.session.save())).to.be.instanceOf(ValueError);
        expect(store.destroy.callCount).to.equal(1);
        ctx.session = null;
      },
      { store: asStore(store), cookie: SOME_COOKIE },
    );
  });
});
