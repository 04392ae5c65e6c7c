import { expect } from 'chai';
import type Koa from 'koa';
import { OptionError, session } from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import { stub } from 'sinon';
import {
  asStore,
  createSite,
  type Handler,
  OpenStore,
  observe,
  type SiteOptions,
  SOME_COOKIE,
  stubStore,
  tidy,
  twinOf,
} from './helpers.js';

const DELETION = (name: string) => `${name}=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/`;
const OLD = 'koa.sess=old; koa.sess.sig=x';

const handlers: Record<string, Handler> = {
  '/read': (ctx) => ({ ...ctx.session }),
  '/write': (ctx) => void (ctx.session.mine = 1),
  '/untouched': () => 'untouched',
  '/maxAge': (ctx) => ctx.session.maxAge ?? null,
  '/regenerate': (ctx) => ctx.session.regenerate(),
  '/end': (ctx) => ctx.session.destroy(),
  '/throw': (ctx) => ctx.throw(401, 'no'),
};

/** A site that migrates, and what it was asked. */
async function migrating(
  content: (ctx: Koa.Context) => unknown = () => ({ user: 'ada' }),
  { clear, ...options }: SiteOptions & { clear?: string | string[] } = {},
) {
  const asked = stub<[Koa.Context], unknown>().callsFake(content);
  const migrate = (ctx: Koa.Context) => asked(ctx) as never;
  const site = await createSite(handlers, {
    ...options,
    migrate: clear === undefined ? migrate : Object.assign(migrate, { clear }),
  });
  return { ...site, asked };
}

describe('migrate', () => {
  afterEach(tidy);

  for (const [kind, createStore] of [
    ['kept', () => new MemoryStore()],
    ['sealed', () => new OpenStore()],
  ] as const) {
    it(`makes a new session of what it returns (${kind}), once, and deletes the old cookies`, async () => {
      const { visitor, asked } = await migrating(async (ctx) => ({ user: ctx.cookies.get('koa.sess') }), {
        store: createStore(),
        clear: ['koa.sess', 'koa.sess.sig', 'other'],
      });
      const ada = visitor();
      ada.jar.set('koa.sess', 'old').set('koa.sess.sig', 'x');
      const first = await ada.get('/read');
      expect(first.json()).to.deep.equal({ user: 'old' });
      expect(first.setCookie).to.have.length(3);
      expect(first.setCookie.filter((line) => !line.startsWith('wsession='))).to.deep.equal([
        DELETION('koa.sess'),
        DELETION('koa.sess.sig'),
      ]);
      expect([...ada.jar.keys()]).to.deep.equal(['wsession']);
      const second = await ada.get('/read');
      expect([second.json(), second.setCookie]).to.deep.equal([{ user: 'old' }, []]);
      expect(asked.callCount).to.equal(1);
    });

    it(`does so where the handler leaves the session alone (${kind})`, async () => {
      const { visitor } = await migrating(undefined, { store: createStore(), clear: 'koa.sess' });
      const ada = visitor();
      ada.jar.set('koa.sess', 'old');
      const { body, setCookie, headers } = await ada.get('/untouched');
      expect([body, setCookie.length, headers.vary]).to.deep.equal(['"untouched"', 2, 'Cookie']);
      expect((await ada.get('/read')).json()).to.deep.equal({ user: 'ada' });
    });
  }

  it('deletes a cookie whose name demands it with Secure', async () => {
    const clear = ['__Host-old', '__Secure-old'];
    const { visitor } = await migrating(undefined, { clear });
    const { setCookie } = await visitor().get('/read', {
      headers: { cookie: '__Host-old=1; __Secure-old=1' },
    });
    expect(setCookie.filter((line) => line.startsWith('__'))).to.deep.equal(
      clear.map((name) => `${DELETION(name)}; Secure`),
    );
  });

  it('with `clear` is called only where such a cookie is sent', async () => {
    const { visitor, asked } = await migrating(undefined, { clear: 'koa.sess' });
    for (const cookie of ['other=1', 'koa.sess2=1', 'xkoa.sess=1', 'koa.sess.sig=1', SOME_COOKIE])
      await visitor().get('/read', { headers: { cookie } });
    await visitor().get('/read');
    expect(asked.callCount).to.equal(0);
    await visitor().get('/read', { headers: { cookie: `${SOME_COOKIE}; koa.sess=1` } });
    expect(asked.callCount).to.equal(1);
  });

  it('without `clear` is called for each visitor without a session, and deletes nothing', async () => {
    const { visitor, asked } = await migrating((ctx) => (ctx.get('cookie') === OLD ? { user: 'ada' } : undefined));
    const { setCookie } = await visitor().get('/read', { headers: { cookie: OLD } });
    expect(setCookie.map((line) => line.split('=')[0])).to.deep.equal(['wsession']);
    expect((await visitor().get('/read')).setCookie).to.deep.equal([]);
    expect((await visitor().get('/read', { headers: { cookie: SOME_COOKIE } })).json()).to.deep.equal({});
    expect(asked.callCount).to.equal(3);
  });

  it('is not called where there is a session', async () => {
    for (const store of [new MemoryStore(), new OpenStore()]) {
      const { visitor, asked } = await migrating(undefined, { store, clear: 'koa.sess' });
      const ada = visitor();
      await ada.get('/write');
      ada.jar.set('koa.sess', 'old');
      const { setCookie, body } = await ada.get('/read');
      expect([asked.callCount, setCookie, body]).to.deep.equal([0, [], '{"mine":1}']);
    }
  });

  it('is not called for a replaced id, whose session goes on elsewhere', async () => {
    const { visitor, asked } = await migrating();
    const ada = visitor();
    await ada.get('/write');
    const late = twinOf(ada);
    await ada.get('/regenerate');
    asked.resetHistory();
    for (const path of ['/untouched', '/read']) {
      const { status, setCookie } = await late.get(path);
      expect([status, setCookie, asked.callCount]).to.deep.equal([200, [], 0]);
    }
  });

  it('that returns undefined makes no session, and the old cookie goes, too', async () => {
    const store = new MemoryStore();
    const writes = observe(store);
    for (const path of ['/read', '/untouched']) {
      const { visitor } = await migrating(() => undefined, { store, clear: 'koa.sess' });
      const { status, setCookie } = await visitor().get(path, { headers: { cookie: OLD } });
      expect([status, setCookie]).to.deep.equal([200, [DELETION('koa.sess')]]);
    }
    expect(writes).to.deep.equal([]);
  });

  it('that returns an empty object makes no session either', async () => {
    const { visitor } = await migrating(() => ({}), { clear: 'koa.sess' });
    const { setCookie } = await visitor().get('/read', { headers: { cookie: OLD } });
    expect(setCookie).to.deep.equal([DELETION('koa.sess')]);
  });

  it('takes `maxAge` for the lifetime, and drops the other names that every session has', async () => {
    const content = {
      user: 'ada',
      maxAge: 120_000,
      isNew: true,
      save: 1,
      regenerate: null,
      destroy: () => 1,
    };
    const { visitor } = await migrating(() => content, { clear: 'koa.sess' });
    const ada = visitor();
    ada.jar.set('koa.sess', 'old');
    const { setCookie, body } = await ada.get('/read');
    expect(body).to.equal('{"user":"ada"}');
    expect(setCookie[0]).to.match(/^wsession=[\w-]{32}; Max-Age=120;/);
    expect((await ada.get('/maxAge')).json()).to.equal(120_000);
    expect(Object.keys(content), 'the app’s object stays as it is').to.have.length(6);
  });

  it('that throws is an error of the app, and the old cookie stays', async () => {
    for (const fail of [
      () => {
        throw new Error('mine');
      },
      () => Promise.reject(new Error('mine')),
    ]) {
      const { visitor, errors } = await migrating(fail, { clear: 'koa.sess' });
      const { status, setCookie } = await visitor().get('/untouched', { headers: { cookie: OLD } });
      expect([status, setCookie, errors.map(({ message }) => message)]).to.deep.equal([500, [], ['mine']]);
    }
  });

  for (const [what, content, code] of [
    ['an array', [1], 'WSESSION_VALUE'],
    ['a string', 'x', 'WSESSION_VALUE'],
    ['null', null, 'WSESSION_VALUE'],
    ['an instance', new (class Old {})(), 'WSESSION_VALUE'],
    ['a function in it', { f: () => 1 }, 'WSESSION_VALUE'],
    ['a lifetime that can’t be', { maxAge: 5 }, 'WSESSION_OPTION'],
  ] as const) {
    it(`that returns ${what} is an error for requests that use the session; the old cookie stays`, async () => {
      const { visitor, errors } = await migrating(() => content, { clear: 'koa.sess' });
      const { status, setCookie } = await visitor().get('/read', { headers: { cookie: OLD } });
      expect([status, setCookie, errors.map((error) => error.code)]).to.deep.equal([500, [], [code]]);
      const untouched = await visitor().get('/untouched', { headers: { cookie: OLD } });
      expect([untouched.status, untouched.setCookie, errors.length]).to.deep.equal([200, [], 1]);
    });
  }

  it('while the store is down: requests that use the session are a 503, the others work, and the old cookie stays', async () => {
    const store = stubStore();
    store.create.rejects(new Error('down'));
    const site = await migrating(undefined, { store: asStore(store), clear: 'koa.sess' });
    const { visitor, errors, app } = site;
    const seen: unknown[] = [];
    app.on('error', (_error, ctx) => seen.push({ ...ctx.session }));
    const headers = { cookie: OLD };
    for (const [path, expected] of [
      ['/read', 503],
      ['/untouched', 200],
    ] as const) {
      const { status, setCookie } = await visitor().get(path, { headers });
      expect([status, setCookie], path).to.deep.equal([expected, []]);
    }
    expect(errors.map(({ code }) => code)).to.deep.equal(['WSESSION_UNAVAILABLE']);
    expect(seen, 'to an error listener').to.deep.equal([{}]);
    store.create.reset();
    store.create.returns({ outcome: 'created' });
    const again = await visitor().get('/read', { headers });
    expect([again.status, again.setCookie.length]).to.deep.equal([200, 2]);
  });

  it('is not called while it is unknown whether there is a session', async () => {
    const store = stubStore();
    store.load.rejects(new Error('down'));
    const sealed = new OpenStore();
    sealed.load = () => {
      throw new Error('down');
    };
    for (const one of [asStore(store), sealed]) {
      const { visitor, asked } = await migrating(undefined, { store: one, clear: 'koa.sess' });
      const headers = { cookie: `${SOME_COOKIE}; ${OLD}` };
      const { status, setCookie } = await visitor().get('/untouched', { headers });
      expect([status, setCookie, asked.callCount]).to.deep.equal([200, [], 0]);
      expect((await visitor().get('/read', { headers })).status).to.equal(503);
    }
  });

  it('of a `secure` session is not called over http, and over https is', async () => {
    const { visitor, asked, app } = await migrating(undefined, {
      store: new MemoryStore({ secure: true }),
      clear: 'koa.sess',
    });
    app.proxy = true;
    const plain = await visitor().get('/read', { headers: { cookie: OLD } });
    expect([plain.status, plain.setCookie, asked.callCount]).to.deep.equal([200, [], 0]);
    const headers = { cookie: OLD, 'x-forwarded-proto': 'https' };
    const tls = await visitor().get('/read', { headers });
    expect([tls.json(), tls.setCookie.length, asked.callCount]).to.deep.equal([{ user: 'ada' }, 2, 1]);
  });

  it('is not called outside the cookie’s path', async () => {
    const { visitor, asked } = await migrating(undefined, { path: '/admin', clear: 'koa.sess' });
    const { status, setCookie } = await visitor().get('/untouched', { headers: { cookie: OLD } });
    expect([status, setCookie, asked.callCount]).to.deep.equal([200, [], 0]);
  });

  it('may be followed by changes, and by the end', async () => {
    const { visitor } = await migrating(undefined, { clear: 'koa.sess' });
    const ada = visitor();
    ada.jar.set('koa.sess', 'old');
    expect((await ada.get('/write')).setCookie).to.have.length(2);
    expect((await ada.get('/read')).json()).to.deep.equal({ user: 'ada', mine: 1 });
    const bob = visitor();
    bob.jar.set('koa.sess', 'old');
    await bob.get('/end');
    expect(bob.jar.size).to.equal(0);
  });

  it('sends the new session, and deletes the old cookie, with an error as well', async () => {
    const { visitor } = await migrating(undefined, { clear: 'koa.sess' });
    const ada = visitor();
    ada.jar.set('koa.sess', 'old');
    expect((await ada.get('/throw')).status).to.equal(401);
    expect([...ada.jar.keys()]).to.deep.equal(['wsession']);
    expect((await ada.get('/read')).json()).to.deep.equal({ user: 'ada' });
  });

  it('may log the visitor in itself', async () => {
    const site = await createSite(handlers, {
      migrate: async (ctx) => {
        await site.sessions.of(ctx).logIn('ada');
        return { user: 'ada' };
      },
    });
    const ada = site.visitor();
    await ada.get('/untouched');
    expect(await site.sessions.list('ada')).to.have.length(1);
    expect((await ada.get('/read')).json()).to.deep.equal({ user: 'ada' });
  });

  it('is checked when the middleware is made', () => {
    const store = new MemoryStore();
    for (const bad of ['x', 1, null, {}, []])
      expect(() => session(store, { migrate: bad as never }), String(bad)).to.throw(
        OptionError,
        /^Invalid option migrate: expected a function, got /,
      );
    for (const clear of ['', 'a b', 'a;b', ['ok', ''], [1], null, {}, []]) {
      const migrate = Object.assign(() => undefined, { clear });
      expect(() => session(store, { migrate: migrate as never }), String(clear)).to.throw(
        OptionError,
        /^Invalid option migrate\.clear: expected a cookie name, or a list of them, got /,
      );
    }
    const own = Object.assign(() => undefined, { clear: ['old', 'sid'] });
    expect(() => session(store, { migrate: own, name: 'sid' })).to.throw(
      OptionError,
      "other names than the session's own",
    );
    session(store, { migrate: Object.assign(() => undefined, { clear: ['a', 'koa:sess'] }) });
  });
});
