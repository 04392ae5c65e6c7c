import { expect } from 'chai';
import type Koa from 'koa';
import { OptionError, session } from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import { stub } from 'sinon';
import {
  asStore,
  createSite,
  type Handler,
  inRequest,
  OpenStore,
  observe,
  type SiteOptions,
  SOME_COOKIE,
  stubStore,
  tidy,
} from './helpers.js';

const DELETION = (name: string) => `${name}=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/`;
const OLD = 'koa.sess=old; koa.sess.sig=x';

const handlers: Record<string, Handler> = {
  '/read': (ctx) => ({ ...ctx.session }),
  '/write': (ctx) => void (ctx.session.mine = 1),
  '/untouched': () => 'untouched',
  '/end': (ctx) => ctx.session.destroy(),
  '/throw': (ctx) => ctx.throw(401, 'no'),
};

/** A site that adopts, and what it was asked. */
async function adopting(
  content: (ctx: Koa.Context) => unknown = () => ({ user: 'ada' }),
  { clear, ...options }: SiteOptions & { clear?: string | string[] } = {},
) {
  const asked = stub<[Koa.Context], unknown>().callsFake(content);
  const adopt = (ctx: Koa.Context) => asked(ctx) as never;
  const site = await createSite(handlers, {
    ...options,
    adopt: clear === undefined ? adopt : Object.assign(adopt, { clear }),
  });
  return { ...site, asked };
}

describe('adopt', () => {
  afterEach(tidy);

  for (const [kind, createStore] of [
    ['kept', () => new MemoryStore()],
    ['sealed', () => new OpenStore()],
  ] as const) {
    it(`makes of what it gives a new session (${kind}), once, and deletes the old cookies`, async () => {
      const { visitor, asked } = await adopting(async (ctx) => ({ user: ctx.cookies.get('koa.sess') }), {
        store: createStore(),
        clear: ['koa.sess', 'koa.sess.sig', 'other'],
      });
      const ada = visitor();
      for (const [name, value] of [
        ['koa.sess', 'old'],
        ['koa.sess.sig', 'x'],
      ] as const)
        ada.jar.set(name, value);
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

    it(`does so where nobody touches the session (${kind})`, async () => {
      const { visitor } = await adopting(undefined, { store: createStore(), clear: 'koa.sess' });
      const ada = visitor();
      ada.jar.set('koa.sess', 'old');
      const { body, setCookie } = await ada.get('/untouched');
      expect([body, setCookie.length]).to.deep.equal(['"untouched"', 2]);
      expect((await ada.get('/read')).json()).to.deep.equal({ user: 'ada' });
    });
  }

  it('deletes a cookie whose name demands it with Secure', async () => {
    const clear = ['__Host-old', '__Secure-old'];
    const { visitor } = await adopting(undefined, { clear });
    const { setCookie } = await visitor().get('/read', {
      headers: { cookie: '__Host-old=1; __Secure-old=1' },
    });
    expect(setCookie.filter((line) => line.startsWith('__'))).to.deep.equal(
      clear.map((name) => `${DELETION(name)}; Secure`),
    );
  });

  it('with `clear` is asked only where such a cookie is sent', async () => {
    const { visitor, asked } = await adopting(undefined, { clear: 'koa.sess' });
    for (const cookie of ['other=1', 'koa.sess2=1', 'xkoa.sess=1', 'koa.sess.sig=1', SOME_COOKIE])
      await visitor().get('/read', { headers: { cookie } });
    await visitor().get('/read');
    expect(asked.callCount).to.equal(0);
    await visitor().get('/read', { headers: { cookie: `${SOME_COOKIE}; koa.sess=1` } });
    expect(asked.callCount).to.equal(1);
  });

  it('without `clear` is asked about everybody who has no session, and deletes nothing', async () => {
    const { visitor, asked } = await adopting((ctx) =>
      ctx.get('cookie') === OLD ? { user: 'ada' } : undefined,
    );
    const { setCookie } = await visitor().get('/read', { headers: { cookie: OLD } });
    expect(setCookie.map((line) => line.split('=')[0])).to.deep.equal(['wsession']);
    expect((await visitor().get('/read')).setCookie).to.deep.equal([]);
    expect((await visitor().get('/read', { headers: { cookie: SOME_COOKIE } })).json()).to.deep.equal({});
    expect(asked.callCount).to.equal(3);
  });

  it('is not asked where there is a session', async () => {
    for (const store of [new MemoryStore(), new OpenStore()]) {
      const { visitor, asked } = await adopting(undefined, { store, clear: 'koa.sess' });
      const ada = visitor();
      await ada.get('/write');
      ada.jar.set('koa.sess', 'old');
      const { setCookie, body } = await ada.get('/read');
      expect([asked.callCount, setCookie, body]).to.deep.equal([0, [], '{"mine":1}']);
    }
  });

  it('that gives undefined makes no session, and the old cookie goes, too', async () => {
    const store = new MemoryStore();
    const writes = observe(store);
    for (const path of ['/read', '/untouched']) {
      const { visitor } = await adopting(() => undefined, { store, clear: 'koa.sess' });
      const { status, setCookie } = await visitor().get(path, { headers: { cookie: OLD } });
      expect([status, setCookie]).to.deep.equal([200, [DELETION('koa.sess')]]);
    }
    expect(writes).to.deep.equal([]);
  });

  it('that gives nothing in an object makes no session either', async () => {
    const { visitor } = await adopting(() => ({}), { clear: 'koa.sess' });
    const { setCookie } = await visitor().get('/read', { headers: { cookie: OLD } });
    expect(setCookie).to.deep.equal([DELETION('koa.sess')]);
  });

  it('that throws is an error of the app, and the old cookie stays', async () => {
    for (const fail of [
      () => {
        throw new Error('mine');
      },
      () => Promise.reject(new Error('mine')),
    ]) {
      const { visitor, errors } = await adopting(fail, { clear: 'koa.sess' });
      const { status, setCookie } = await visitor().get('/untouched', { headers: { cookie: OLD } });
      expect([status, setCookie, errors.map(({ message }) => message)]).to.deep.equal([500, [], ['mine']]);
    }
  });

  it('that gives what is no content concerns those who touch the session; the old cookie stays', async () => {
    for (const [content, code] of [
      [[1], 'WSESSION_VALUE'],
      ['x', 'WSESSION_VALUE'],
      [null, 'WSESSION_VALUE'],
      [{ save: 1 }, 'WSESSION_RESERVED'],
      [{ f: () => 1 }, 'WSESSION_VALUE'],
    ] as const) {
      const { visitor, errors } = await adopting(() => content, { clear: 'koa.sess' });
      const { status, setCookie } = await visitor().get('/read', { headers: { cookie: OLD } });
      expect([status, setCookie, errors[0]?.code]).to.deep.equal([500, [], code]);
    }
  });

  it('while the store is down: whoever touches the session gets a 503, and the old cookie stays', async () => {
    const store = stubStore();
    store.create.rejects(new Error('down'));
    const { visitor } = await adopting(undefined, { store: asStore(store), clear: 'koa.sess' });
    const { status, setCookie } = await visitor().get('/read', { headers: { cookie: OLD } });
    expect([status, setCookie]).to.deep.equal([503, []]);
    store.create.reset();
    store.create.returns({ outcome: 'created' });
    const again = await visitor().get('/read', { headers: { cookie: OLD } });
    expect([again.status, again.setCookie.length]).to.deep.equal([200, 2]);
  });

  it('is not asked while nobody knows whether there is a session', async () => {
    const store = stubStore();
    store.load.rejects(new Error('down'));
    const { visitor, asked } = await adopting(undefined, { store: asStore(store), clear: 'koa.sess' });
    const headers = { cookie: `${SOME_COOKIE}; ${OLD}` };
    const { status, setCookie } = await visitor().get('/untouched', { headers });
    expect([status, setCookie, asked.callCount]).to.deep.equal([200, [], 0]);
    expect((await visitor().get('/read', { headers })).status).to.equal(503);
  });

  it('of a `secure` session is not asked over http, and over https is', async () => {
    const { visitor, asked, app } = await adopting(undefined, {
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

  it('may be followed by changes, and by the end', async () => {
    const { visitor } = await adopting(undefined, { clear: 'koa.sess' });
    const ada = visitor();
    ada.jar.set('koa.sess', 'old');
    expect((await ada.get('/write')).setCookie).to.have.length(2);
    expect((await ada.get('/read')).json()).to.deep.equal({ user: 'ada', mine: 1 });
    const bob = visitor();
    bob.jar.set('koa.sess', 'old');
    await bob.get('/end');
    expect(bob.jar.size).to.equal(0);
  });

  it('hands out the new session with an error, too', async () => {
    const { visitor } = await adopting(undefined, { clear: 'koa.sess' });
    const ada = visitor();
    ada.jar.set('koa.sess', 'old');
    expect((await ada.get('/throw')).status).to.equal(401);
    expect((await ada.get('/read')).json()).to.deep.equal({ user: 'ada' });
  });

  it('may set an owner itself', async () => {
    const site = await createSite(handlers, {
      adopt: (ctx) => {
        ctx.session.owner = 'ada';
        return { user: 'ada' };
      },
    });
    await site.visitor().get('/untouched');
    expect(await site.sessions.list('ada')).to.have.length(1);
  });

  it('is checked when the middleware is made', async () => {
    const store = new MemoryStore();
    for (const bad of ['x', 1, null, {}, []])
      expect(() => session(store, { adopt: bad as never }), String(bad)).to.throw(
        OptionError,
        /^adopt is .+, but it takes a function\.$/,
      );
    for (const clear of ['', 'a b', 'a;b', ['ok', ''], [1], null, {}]) {
      const adopt = Object.assign(() => undefined, { clear });
      expect(() => session(store, { adopt: adopt as never }), String(clear)).to.throw(
        OptionError,
        /^adopt\.clear is .+, but it takes a cookie name, or a list of them\.$/,
      );
    }
    await inRequest((ctx) => ctx.session.isNew, {
      adopt: Object.assign(() => undefined, { clear: ['a', 'b'] }),
    });
  });
});
