import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { get, type IncomingMessage } from 'node:http';
import { createRequire } from 'node:module';
import { expect } from 'chai';
import Koa from 'koa';
import compose from 'koa-compose';
import * as entry from 'koa-wsession';
import { DuplicateMiddlewareError, MiddlewareOrderError, PathError, type Session, session } from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import { Client } from 'testkit/http';
import {
  asStore,
  createSite,
  errorOf,
  Gate,
  type Handler,
  inRequest,
  OpenStore,
  observe,
  SOME_COOKIE,
  serveApp,
  stubStore,
  tidy,
} from './helpers.js';

/** As koa-mount does. */
function mount(prefix: string, ...middleware: Koa.Middleware[]): Koa.Middleware {
  const mounted = compose(middleware);
  return (ctx, next) => (ctx.path.startsWith(prefix) ? mounted(ctx, next) : next());
}

async function serveAll(...middleware: Koa.Middleware[]) {
  const app = new Koa();
  const errors: Array<Error & { code?: string }> = [];
  app.on('error', (error) => errors.push(error));
  for (const one of middleware) app.use(one);
  return { app, errors, client: new Client(await serveApp(app)) };
}

const count = (ctx: Koa.Context) => {
  ctx.session.n = (ctx.session.n ?? 0) + 1;
  ctx.body = String(ctx.session.n);
};

describe('session(store)', () => {
  afterEach(tidy);

  it('is a named and the default export, and has a name in stack traces', () => {
    expect(entry.default).to.equal(entry.session);
    expect(session(new MemoryStore()).name).to.equal('session');
  });

  it('resolves with nothing, whatever the handlers return', async () => {
    const app = new Koa();
    const seen: unknown[] = [];
    const middleware = session(new MemoryStore());
    app.use(async (ctx) => {
      seen.push(await middleware(ctx, async () => 'ignored'));
      ctx.body = 'ok';
    });
    await new Client(await serveApp(app)).get('/');
    expect(seen).to.deep.equal([undefined]);
  });

  it('passes on what the handlers throw, the same object', async () => {
    const thrown: unknown[] = [];
    for (const mine of [new Error('mine'), 'text', undefined, null, { status: 418 }]) {
      const { visitor } = await createSite(
        {
          '/': (ctx) => {
            ctx.session.a = 1;
            throw mine;
          },
        },
        {
          before: [
            async (ctx, next) => {
              await next().catch((error) => thrown.push(error === mine));
              ctx.body = 'caught';
            },
          ],
        },
      );
      expect((await visitor().get('/')).setCookie).to.have.length(1);
    }
    expect(thrown).to.deep.equal([true, true, true, true, true]);
  });

  describe('for a request that leaves the session alone', () => {
    it('loads once where there is a cookie, and does nothing else', async () => {
      const store = stubStore();
      const { headers, setCookie } = await inRequest(() => 'untouched', {
        store: asStore(store),
        cookie: SOME_COOKIE,
        rolling: true,
      });
      const counts = [store.load, store.create, store.update, store.destroy].map(({ callCount }) => callCount);
      expect(counts).to.deep.equal([1, 0, 0, 0]);
      expect([setCookie, headers.vary, headers['cache-control']]).to.deep.equal([[], undefined, undefined]);
    });

    it('does nothing at all without a cookie, or with one that can not be ours', async () => {
      for (const cookie of ['other=1', 'wsession=short', `wsession=${'A'.repeat(33)}`, `wsession=${'.'.repeat(32)}`]) {
        const store = stubStore();
        const { setCookie } = await inRequest(() => 'untouched', { store: asStore(store), cookie });
        expect([store.load.callCount, setCookie]).to.deep.equal([0, []]);
      }
    });

    it('does nothing at all with a store that seals', async () => {
      const store = new OpenStore();
      const { visitor } = await createSite({ '/': count, '/untouched': () => 'fine' }, { store, rolling: true });
      const ada = visitor();
      await ada.get('/');
      store.calls.length = 0;
      const { setCookie, headers } = await ada.get('/untouched');
      expect([store.calls, setCookie, headers.vary]).to.deep.equal([[], [], undefined]);
      await ada.get('/');
      expect(store.calls).to.deep.equal(['load', 'update']);
    });
  });

  describe('twice on one request', () => {
    it('does no harm where it is the same middleware: it is the same session', async () => {
      const store = new MemoryStore();
      const order = observe(store);
      const same = session(store);
      const { client, errors } = await serveAll(same, same, mount('/', same), count);
      const bodies = [(await client.get('/')).body, (await client.get('/')).body];
      expect([bodies, order, errors]).to.deep.equal([['1', '2'], ['create', 'update'], []]);
    });

    it("does no harm in a sub-app's callback(), which makes a context of its own", async () => {
      const store = new MemoryStore();
      const same = session(store);
      const inner = new Koa();
      inner.use(same);
      inner.use(count);
      const { client, errors } = await serveAll(
        same,
        async (ctx, next) => {
          if (ctx.path !== '/inner') return next();
          ctx.session.outer = true;
          ctx.respond = false;
          inner.callback()(ctx.req, ctx.res);
          await once(ctx.res, 'finish');
        },
        (ctx) => {
          ctx.body = JSON.stringify(ctx.session);
        },
      );
      const bodies = [];
      for (const path of ['/inner', '/inner', '/']) bodies.push((await client.get(path)).body);
      expect([bodies, errors]).to.deep.equal([['1', '2', '{"outer":true,"n":2}'], []]);
    });

    it('is a DuplicateMiddlewareError where there are two of one name, in a sub-app, too', async () => {
      const inner = new Koa();
      inner.silent = true;
      inner.use(session(new MemoryStore()));
      inner.use(count);
      const innerErrors: unknown[] = [];
      inner.on('error', (error) => innerErrors.push(error));
      const subApp: Koa.Middleware = (ctx) => {
        ctx.respond = false;
        inner.callback()(ctx.req, ctx.res);
      };
      for (const second of [session(new MemoryStore()), mount('/', session(new MemoryStore())), subApp]) {
        const { client, errors } = await serveAll(session(new MemoryStore()), second, count);
        for (let i = 0; i < 2; i++) expect((await client.get('/')).status).to.equal(500);
        for (const error of second === subApp ? innerErrors : errors)
          expect(error)
            .to.be.instanceOf(DuplicateMiddlewareError)
            .with.property(
              'message',
              'Two session middlewares named "wsession" handle this request: remove one, or give it another option name.',
            );
        expect(second === subApp ? innerErrors : errors).to.have.length(2);
      }
    });
  });

  describe('under two names', () => {
    /** An app, and a sub-app with a session of its own below /inner. */
    async function nested(inside: Koa.Middleware, after: (ctx: Koa.Context) => unknown = () => undefined) {
      const outer = session(new MemoryStore());
      const inner = session(new MemoryStore(), { name: 'inner' });
      const site = await serveAll(
        outer,
        async (ctx, next) => {
          ctx.session.visits = (ctx.session.visits ?? 0) + 1;
          await next().finally(() => after(ctx));
        },
        mount('/inner', inner, inside),
        (ctx) => {
          ctx.body = JSON.stringify(ctx.session);
        },
      );
      return { ...site, outer, inner };
    }

    it('each has its own: the inner one is ctx.session inside, the outer one again afterwards', async () => {
      const { client } = await nested(count, (ctx) => {
        ctx.set('X-After', JSON.stringify(ctx.session));
      });
      const first = await client.get('/inner');
      const second = await client.get('/inner');
      expect([first.body, second.body]).to.deep.equal(['1', '2']);
      expect([first.headers['x-after'], second.headers['x-after']]).to.deep.equal(['{"visits":1}', '{"visits":2}']);
      expect([...client.jar.keys()].sort()).to.deep.equal(['inner', 'wsession']);
      expect((await client.get('/')).body).to.equal('{"visits":3}');
    });

    it('both are stored and delivered with an error, which passes through both', async () => {
      const { client } = await nested(
        (ctx) => {
          ctx.session.n = 1;
          ctx.throw(401);
        },
        (ctx) => {
          ctx.session.failed = true; // the outer one again
        },
      );
      const { status, setCookie } = await client.get('/inner');
      expect([status, setCookie.map((line) => line.split('=')[0]).sort()]).to.deep.equal([401, ['inner', 'wsession']]);
      expect((await client.get('/')).body).to.equal('{"visits":2,"failed":true}');
    });

    it('both are stored before a response past Koa', async () => {
      const { client } = await nested((ctx) => {
        ctx.session.n = 1;
        ctx.respond = false;
        ctx.res.writeHead(200);
        ctx.res.end('raw');
      });
      const { body, setCookie } = await client.get('/inner');
      expect([body, setCookie.length]).to.deep.equal(['raw', 2]);
      expect((await client.get('/')).body).to.equal('{"visits":2}');
    });

    it('sessions.of(ctx) finds its own, whichever is ctx.session', async () => {
      const seen: unknown[] = [];
      const both: { outer?: ReturnType<typeof session>; inner?: ReturnType<typeof session> } = {};
      const site = await nested(
        async (ctx) => {
          both.outer?.of(ctx).flash('note', 'outer');
          both.inner?.of(ctx).flash('note', 'inner');
          seen.push(await both.outer?.of(ctx).update('visits', (n) => n + 10), { ...ctx.session });
          seen.push(await both.inner?.of(ctx).takeFlash('note'));
          ctx.body = 'ok';
        },
        async (ctx) => {
          seen.push(await both.outer?.of(ctx).takeFlash('note'));
        },
      );
      Object.assign(both, site);
      await site.client.get('/inner');
      expect(seen).to.deep.equal([11, {}, ['inner'], ['outer']]);
    });

    it("a sub-app's callback() can have a session of its own", async () => {
      const inner = new Koa();
      inner.use(session(new MemoryStore(), { name: 'inner' }));
      inner.use(count);
      const seen: unknown[] = [];
      const { client } = await serveAll(session(new MemoryStore()), async (ctx) => {
        ctx.session.visits = (ctx.session.visits ?? 0) + 1;
        ctx.respond = false;
        inner.callback()(ctx.req, ctx.res);
        await once(ctx.res, 'finish');
        seen.push({ ...ctx.session });
      });
      const bodies = [(await client.get('/')).body, (await client.get('/')).body];
      expect([bodies, seen]).to.deep.equal([
        ['1', '2'],
        [{ visits: 1 }, { visits: 2 }],
      ]);
    });

    it('on two branches of one app, each counts for itself', async () => {
      const branches = ['a', 'b'].map((name) =>
        mount(`/${name}`, session(new MemoryStore(), { name, path: `/${name}` }), count),
      );
      const { client } = await serveAll(...branches, (ctx) => {
        ctx.body = String(ctx.session);
      });
      const bodies = [];
      for (const path of ['/a', '/a/x', '/b', '/a', '/elsewhere']) bodies.push((await client.get(path)).body);
      expect(bodies).to.deep.equal(['1', '2', '1', '3', 'undefined']);
      expect([...client.jar.keys()].sort()).to.deep.equal(['a', 'b']);
    });
  });

  describe('and a ctx.session of another library', () => {
    /** The warnings that were emitted while `body` ran. */
    async function warnings(body: () => Promise<void>): Promise<string[]> {
      const seen: string[] = [];
      const note = (warning: Error & { code?: string }) => seen.push(String(warning.code));
      process.on('warning', note);
      await body();
      await new Promise(setImmediate);
      process.off('warning', note);
      return seen.filter((code) => code.startsWith('WSESSION'));
    }

    const definitions: Record<string, PropertyDescriptor> = {
      'a getter': { get: () => ({ foreign: true }), configurable: true },
      'a getter and a setter': { get: () => ({ foreign: true }), set: () => undefined, configurable: true },
      'a getter that throws': {
        get: () => {
          throw new Error('not ready');
        },
        configurable: true,
      },
      'a value': { value: { foreign: true }, writable: true, configurable: true },
      undefined: { value: undefined, writable: true, configurable: true },
    };
    for (const [what, definition] of Object.entries(definitions)) {
      it(`defined on the app before the first request (${what}) is replaced, with one warning`, async () => {
        const seen = await warnings(async () => {
          const { app, client, errors } = await serveAll(session(new MemoryStore()), count);
          Object.defineProperty(app.context, 'session', definition);
          const bodies = [(await client.get('/')).body, (await client.get('/')).body];
          expect([bodies, errors]).to.deep.equal([['1', '2'], []]);
        });
        expect(seen).to.deep.equal(['WSESSION_REPLACED']);
      });

      it(`defined on the app after the first request (${what}) is replaced, with one warning`, async () => {
        const seen = await warnings(async () => {
          const { app, client, errors } = await serveAll(session(new MemoryStore()), count);
          const bodies = [(await client.get('/')).body];
          Object.defineProperty(app.context, 'session', definition);
          for (let i = 0; i < 2; i++) bodies.push((await client.get('/')).body);
          expect([bodies, errors]).to.deep.equal([['1', '2', '3'], []]);
        });
        expect(seen).to.deep.equal(['WSESSION_REPLACED']);
      });

      it(`defined on the context by a middleware in front (${what}) is replaced, with one warning`, async () => {
        const seen = await warnings(async () => {
          const { client, errors } = await serveAll(
            (ctx, next) => {
              Object.defineProperty(ctx, 'session', definition);
              return next();
            },
            session(new MemoryStore()),
            count,
          );
          const bodies = [(await client.get('/')).body, (await client.get('/')).body];
          expect([bodies, errors]).to.deep.equal([['1', '2'], []]);
        });
        expect(seen).to.deep.equal(['WSESSION_REPLACED']);
      });
    }
  });

  describe('that has not run for the request', () => {
    it('makes sessions.of(ctx) a MiddlewareOrderError, that of another middleware included', async () => {
      const [mine, others] = [session(new MemoryStore()), session(new MemoryStore(), { name: 'other' })];
      const seen: unknown[] = [];
      const { client } = await serveAll(
        async (ctx, next) => {
          seen.push(await errorOf(() => mine.of(ctx)));
          await next();
          mine.of(ctx);
        },
        mine,
        async (ctx) => {
          seen.push(await errorOf(() => others.of(ctx)), await errorOf(() => others.of(ctx.session)));
          seen.push(await errorOf(() => mine.of({} as Session)));
          ctx.body = 'ok';
        },
      );
      expect((await client.get('/')).status).to.equal(200);
      expect(seen).to.have.length(4);
      for (const error of seen) expect(error).to.be.instanceOf(MiddlewareOrderError);
    });

    it('makes an assignment to ctx.session a MiddlewareOrderError, which is never dropped silently', async () => {
      const { client, errors } = await serveAll(
        (ctx, next) => {
          if (ctx.path === '/assign') ctx.session = { user: 'ada' };
          return next();
        },
        session(new MemoryStore()),
        count,
      );
      await client.get('/');
      for (let i = 0; i < 2; i++) expect((await client.get('/assign')).status).to.equal(500);
      for (const error of errors) expect(error).to.be.instanceOf(MiddlewareOrderError);
      expect(errors).to.have.length(2);
    });

    it('leaves ctx.session undefined in middleware in front of it, and a property of app.context an ordinary one', async () => {
      const { app, client } = await serveAll(
        async (ctx, next) => {
          ctx.set('X-Session', String(ctx.session));
          await next();
        },
        session(new MemoryStore()),
        count,
      );
      for (let i = 0; i < 2; i++) expect((await client.get('/')).headers['x-session']).to.equal('undefined');
      const mock = { user: 'ada' };
      app.context.session = mock as never; // as tests do
      expect(app.context.session).to.equal(mock);
    });
  });

  describe('with the option path', () => {
    const handlers = (handler: Handler): Record<string, Handler> =>
      Object.fromEntries(['/app', '/app/x', '/app/', '/application', '/', '/other'].map((path) => [path, handler]));
    const inside = ['/app', '/app/x', '/app/', '/app?a=1'];
    const outside = ['/application', '/', '/other', '/other?x=/app'];

    it('is for requests below it alone: outside, a write is a PathError, and a read finds nothing', async () => {
      const { visitor, errors } = await createSite(
        handlers((ctx) => {
          if (ctx.query.read === undefined) ctx.session.a = 1;
          return { ...ctx.session };
        }),
        { path: '/app' },
      );
      for (const path of inside) {
        const { status, setCookie } = await visitor().get(path);
        expect([status, setCookie[0]?.includes('; Path=/app;')], path).to.deep.equal([200, true]);
      }
      for (const path of outside) {
        const { status, setCookie } = await visitor().get(path);
        expect([status, setCookie, errors.pop()?.constructor], path).to.deep.equal([500, [], PathError]);
      }
      const { body, setCookie } = await visitor().get('/other?read');
      expect([body, setCookie]).to.deep.equal(['{}', []]);
    });

    it('is the path alone where the request names a whole URL', async () => {
      const { served, errors } = await createSite(
        handlers((ctx) => void (ctx.session.a = 1)),
        { path: '/app' },
      );
      const statuses: Array<number | undefined> = [];
      for (const path of ['http://a.example/app/x', 'HTTP://a.example:80/app?a=1', 'http://app/other']) {
        const request = get({ port: served.port, path, agent: false });
        const [response] = (await once(request, 'response')) as [IncomingMessage];
        response.resume();
        statuses.push(response.statusCode);
      }
      expect([statuses, errors.length]).to.deep.equal([[200, 200, 500], 1]);
    });

    it('refuses every way to change the session outside', async () => {
      const ways: Handler[] = [
        (ctx) => void (ctx.session.a = 1),
        (ctx) => void delete ctx.session.a,
        (ctx) => void (ctx.session = { a: 1 }),
        (ctx) => void (ctx.session.maxAge = 90_000_000),
        (ctx, sessions) => sessions.of(ctx).flash('a', 1),
        (ctx, sessions) => sessions.of(ctx).update('a', () => 1),
        (ctx, sessions) => sessions.of(ctx).logIn('ada'),
      ];
      for (const way of ways)
        expect((await errorOf(() => inRequest(way, { path: '/app' }))).code).to.equal('WSESSION_PATH');
    });

    it('does not matter to reading and ending, which do nothing outside', async () => {
      const { setCookie } = await inRequest(
        async (ctx, sessions) => {
          await ctx.session.save();
          await ctx.session.regenerate();
          await ctx.session.destroy();
          ctx.session = null;
          return [ctx.session.a, await sessions.of(ctx).takeFlash('a'), sessions.of(ctx).owner];
        },
        { path: '/app' },
      );
      expect(setCookie).to.deep.equal([]);
    });

    it('takes a visitor who sends the cookie for one inside: a proxy may have removed the path', async () => {
      const { visitor } = await createSite(
        handlers((ctx) => {
          ctx.session.n = (ctx.session.n ?? 0) + 1;
          return ctx.session.n;
        }),
        { path: '/app' },
      );
      const ada = visitor();
      await ada.get('/app');
      expect((await ada.get('/other')).json()).to.equal(2);
    });
  });

  it('in two apps keeps their sessions apart, on one store, too', async () => {
    const store = new MemoryStore();
    const clients = [];
    for (const name of ['one', 'two']) {
      const app = new Koa();
      app.use(session(store, { name }));
      app.use(count);
      clients.push(new Client(await serveApp(app)));
    }
    const [one, two] = clients as [Client, Client];
    for (let i = 0; i < 2; i++) await one.get('/');
    two.jar.set('two', String(one.jar.get('one')));
    expect((await two.get('/')).body).to.equal('1');
    expect((await one.get('/')).body).to.equal('3');
  });

  it('of one app can be mounted in another', async () => {
    const [outer, inner] = [new Koa(), new Koa()];
    inner.use(session(new MemoryStore()));
    inner.use(count);
    outer.use(mount('/inner', compose(inner.middleware) as Koa.Middleware));
    outer.use((ctx) => {
      ctx.body = `outer ${String(ctx.session)}`;
    });
    const client = new Client(await serveApp(outer));
    const bodies = [];
    for (const path of ['/', '/inner', '/inner', '/']) bodies.push((await client.get(path)).body);
    expect(bodies).to.deep.equal(['outer undefined', '1', '2', 'outer undefined']);
    const alone = new Client(await serveApp(inner));
    expect((await alone.get('/')).body).to.equal('1');
  });

  it('keeps requests at the same time apart', async () => {
    const all = new Gate();
    let waiting = 0;
    const { visitor } = await createSite({
      '/': async (ctx) => {
        const name = String(ctx.query.name);
        ctx.session.name = name;
        if (++waiting === 20) all.open(undefined);
        await all.passed;
        return [ctx.session.name, ctx.session.isNew];
      },
      '/get': (ctx) => ctx.session.name,
    });
    const visitors = Array.from({ length: 20 }, (_, i) => ({ name: `v${i}`, client: visitor() }));
    const bodies = await Promise.all(
      visitors.map(async ({ name, client }) => (await client.get(`/?name=${name}`)).json()),
    );
    expect(bodies).to.deep.equal(visitors.map(({ name }) => [name, true]));
    expect(new Set(visitors.map(({ client }) => client.jar.get('wsession'))).size).to.equal(20);
    for (const { name, client } of visitors) expect((await client.get('/get')).json()).to.equal(name);
  });

  it('gives parallel requests of one visitor objects of their own', async () => {
    const both = new Gate();
    let waiting = 0;
    const seen: unknown[] = [];
    const { visitor } = await createSite({
      '/': (ctx) => void (ctx.session.list = [1]),
      '/both': async (ctx) => {
        seen.push(ctx.session.list);
        if (++waiting === 2) both.open(undefined);
        await both.passed;
      },
    });
    const ada = visitor();
    await ada.get('/');
    await Promise.all([ada.get('/both'), ada.get('/both')]);
    expect(seen).to.deep.equal([[1], [1]]);
    expect(seen[0]).to.not.equal(seen[1]);
  });

  it('gives ctx.session to the error listener', async () => {
    const store = new MemoryStore();
    const order = observe(store);
    const seen: unknown[] = [];
    const app = new Koa();
    app.on('error', (_error, ctx: Koa.Context) => seen.push(ctx.session.user, ctx.session.isNew));
    app.use(session(store));
    app.use((ctx) => {
      ctx.session.user = 'ada';
      throw new Error('mine');
    });
    await new Client(await serveApp(app)).get('/');
    expect([seen, order]).to.deep.equal([['ada', false], ['create']]);
  });

  it('is for the versions of Koa that package.json names, and tested with one of them', () => {
    const require = createRequire(import.meta.url);
    const { version } = JSON.parse(readFileSync(require.resolve('koa/package.json'), 'utf8'));
    const own = JSON.parse(readFileSync(require.resolve('koa-wsession/package.json'), 'utf8'));
    expect(own.peerDependencies.koa).to.equal('^2.16.0 || ^3.0.0');
    expect(version).to.match(/^(2\.(1[6-9]|[2-9]\d)|3)\./);
  });
});
