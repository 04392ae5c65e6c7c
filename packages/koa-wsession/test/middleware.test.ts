import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { expect } from 'chai';
import Koa from 'koa';
import compose from 'koa-compose';
import * as entry from 'koa-wsession';
import { session, TwiceError } from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import { Client } from 'testkit/http';
import {
  asStore,
  createSite,
  Gate,
  inRequest,
  OpenStore,
  observe,
  SOME_COOKIE,
  serveApp,
  stubStore,
  tidy,
} from './helpers.js';

const count = (ctx: Koa.Context) => {
  ctx.session.n = (ctx.session.n ?? 0) + 1;
  ctx.body = String(ctx.session.n);
};

describe('session(store)', () => {
  afterEach(tidy);

  it('is a named and the default export, and names itself in a stack', () => {
    expect(entry.default).to.equal(entry.session);
    expect(session(new MemoryStore()).name).to.equal('session');
  });

  it('answers what the handlers after it answer', async () => {
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

  describe('for a request that never touches the session', () => {
    it('loads once where there is a cookie, and does nothing else', async () => {
      const store = stubStore();
      const { headers, setCookie } = await inRequest(() => 'untouched', {
        store: asStore(store),
        cookie: SOME_COOKIE,
        rolling: true,
      });
      const counts = [store.load, store.create, store.update, store.destroy].map(
        ({ callCount }) => callCount,
      );
      expect(counts).to.deep.equal([1, 0, 0, 0]);
      expect([setCookie, headers.vary, headers['cache-control']]).to.deep.equal([[], undefined, undefined]);
    });

    it('does nothing at all without a cookie, or with one that can not be ours', async () => {
      for (const cookie of [
        'other=1',
        'wsession=short',
        `wsession=${'A'.repeat(33)}`,
        `wsession=${'.'.repeat(32)}`,
      ]) {
        const store = stubStore();
        const { setCookie } = await inRequest(() => 'untouched', { store: asStore(store), cookie });
        expect([store.load.callCount, setCookie]).to.deep.equal([0, []]);
      }
    });

    it('does nothing at all with a store that seals', async () => {
      const store = new OpenStore();
      const { visitor } = await createSite(
        { '/': count, '/untouched': () => 'fine' },
        { store, rolling: true },
      );
      const ada = visitor();
      await ada.get('/');
      store.calls.length = 0;
      const { setCookie, headers } = await ada.get('/untouched');
      expect([store.calls, setCookie, headers.vary]).to.deep.equal([[], [], undefined]);
      await ada.get('/');
      expect(store.calls).to.deep.equal(['load', 'update']);
    });
  });

  describe('twice', () => {
    it('on one request is a TwiceError', async () => {
      for (const nested of [
        () => [session(new MemoryStore()), session(new MemoryStore())],
        () => {
          const same = session(new MemoryStore());
          return [same, same];
        },
        () => [session(new MemoryStore()), compose([session(new MemoryStore(), { name: 'other' })])],
      ]) {
        const app = new Koa();
        const errors: unknown[] = [];
        app.on('error', (error) => errors.push(error));
        for (const middleware of nested()) app.use(middleware);
        app.use(count);
        const client = new Client(await serveApp(app));
        for (let i = 0; i < 2; i++) expect((await client.get('/')).status).to.equal(500);
        expect(errors).to.have.length(2);
        for (const error of errors)
          expect(error).to.be.instanceOf(TwiceError).with.property('code', 'WSESSION_TWICE');
      }
    });

    it('is one too many beside a ctx.session of somebody else', async () => {
      for (const own of [{ get: () => ({}) }, { value: undefined }, { value: {} }]) {
        const app = new Koa();
        app.silent = true;
        const errors: unknown[] = [];
        app.on('error', (error) => errors.push(error));
        Object.defineProperty(app.context, 'session', { ...own, configurable: true });
        app.use(session(new MemoryStore()));
        app.use(count);
        expect((await new Client(await serveApp(app)).get('/')).status).to.equal(500);
        expect(errors[0]).to.be.instanceOf(TwiceError);
      }
    });

    it('on two branches of one app, each for itself, is fine', async () => {
      const app = new Koa();
      const mount =
        (prefix: string, inner: Koa.Middleware): Koa.Middleware =>
        (ctx, next) =>
          ctx.path.startsWith(prefix) ? inner(ctx, next) : next();
      for (const name of ['a', 'b']) {
        const branch = [session(new MemoryStore(), { name, path: `/${name}` }), count as Koa.Middleware];
        app.use(mount(`/${name}`, compose(branch)));
      }
      app.use((ctx) => {
        ctx.body = String(ctx.session);
      });
      const client = new Client(await serveApp(app));
      const bodies = [];
      for (const path of ['/a', '/a/x', '/b', '/a', '/elsewhere']) bodies.push((await client.get(path)).body);
      expect(bodies).to.deep.equal(['1', '2', '1', '3', 'undefined']);
      expect([...client.jar.keys()].sort()).to.deep.equal(['a', 'b']);
    });
  });

  it('in two apps keeps their sessions apart, also on one store', async () => {
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
    const mounted = compose(inner.middleware);
    outer.use((ctx, next) => (ctx.path === '/inner' ? mounted(ctx as never, next) : next()));
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

  it('gives requests at the same time nothing of each other', async () => {
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

  it('gives ctx.session to routers, to the error listener, and to what comes after the request', async () => {
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

  it('is for the Koa that it says, and tested with this one', () => {
    const require = createRequire(import.meta.url);
    const { version } = JSON.parse(readFileSync(require.resolve('koa/package.json'), 'utf8'));
    const own = JSON.parse(readFileSync(require.resolve('koa-wsession/package.json'), 'utf8'));
    expect(own.peerDependencies.koa).to.equal('^2.16.0 || ^3.0.0');
    expect(version).to.match(/^(2\.(1[6-9]|[2-9]\d)|3)\./);
    for (const { types, default: main } of Object.values(own.exports).filter(
      (it) => typeof it === 'object',
    ) as Array<Record<string, string>>) {
      for (const file of [types, main]) {
        expect(existsSync(new URL(`../${file}`, import.meta.url)), file).to.equal(true);
      }
    }
  });
});
