import crypto from 'node:crypto';
import { expect } from 'chai';
import { OptionError, type SessionEvent, type SessionOptions, session } from 'koa-wsession';
import { encrypted } from 'koa-wsession/encrypted';
import { MemoryStore } from 'koa-wsession/memory';
import type { Store } from 'koa-wsession/store';
import { spy, useFakeTimers } from 'sinon';
import { DeviceBrowser } from './device-browser.js';
import { ANONYMOUS, BOUND, handlers, LOGIN, MINUTE, start, startClock, UNBOUND, whoIs } from './device-site.js';
import { listenTo, stopListening } from './events-heard.js';
import { createSite, errorOf, OpenStore, type SiteOptions, tidy } from './helpers.js';

/** What cryptography begins with. */
const CRYPTO = ['createHmac', 'createHash', 'hash', 'randomBytes', 'verify', 'createPublicKey'] as const;

describe('session(store, { deviceBound })', () => {
  afterEach(stopListening);
  afterEach(tidy);

  describe('at the login', () => {
    it('offers a registration, and nowhere else', async () => {
      const { browser } = await start();
      for (const path of ['/change', '/who', '/regenerate']) await browser.get(path);
      expect(browser.offer).to.equal(undefined);
      await browser.get('/login');
      expect(browser.offer).to.match(
        /^\(ES256 RS256\);path="\/device-bound\/wsession\/register";challenge="[\w-]{32}"$/,
      );
      const offer = browser.offer;
      for (const path of ['/change', '/who', '/regenerate']) await browser.get(path);
      expect(browser.offer).to.equal(offer);
    });

    it('offers none over plain http, except on localhost', async () => {
      const { site } = await start();
      const offers = async (host: string) =>
        (await site.visitor().get('/login', { headers: { host } })).headers['secure-session-registration'];
      expect(await offers('shop.test')).to.equal(undefined);
      expect(await offers('notlocalhost')).to.equal(undefined);
      expect(await offers('localhost:3000')).to.be.a('string');
      expect(await offers('app.localhost')).to.be.a('string');
    });

    it('offers it also where the handler fails afterwards', async () => {
      const site = await createSite(
        {
          ...handlers,
          '/fail': async (ctx, sessions) => {
            await sessions.of(ctx).logIn('ada');
            ctx.throw(400);
          },
        },
        { deviceBound: true },
      );
      const browser = new DeviceBrowser(site);
      expect((await browser.get('/fail')).status).to.equal(400);
      expect((await browser.register()).status).to.equal(200);
    });

    it('lets the app withhold the offer from some users', async () => {
      const site = await createSite(
        {
          ...handlers,
          '/login': async (ctx, sessions) => {
            await sessions.of(ctx).logIn('ada');
            ctx.remove('Secure-Session-Registration');
          },
        },
        { deviceBound: true },
      );
      const browser = new DeviceBrowser(site);
      await browser.get('/login');
      expect([browser.offer, await whoIs(browser)]).to.deep.equal([undefined, UNBOUND]);
    });
  });

  it('changes nothing for browsers that don’t register', async () => {
    const clock = startClock();
    const { browser } = await start();
    await browser.get('/login');
    clock.tick(50 * MINUTE);
    expect(await whoIs(browser)).to.deep.equal(UNBOUND);
    expect((await browser.get('/list')).json()).to.deep.equal([false]);
  });

  it('costs a session that isn’t bound nothing: neither a call to the store nor cryptography', async () => {
    // With both clocks stopped, no token is old enough to be looked at again.
    useFakeTimers({ now: LOGIN, toFake: ['Date', 'performance'] });
    const countCalls = async (options: SiteOptions): Promise<Record<string, number>> => {
      const store = new MemoryStore();
      const { browser } = await start({ ...options, store });
      await browser.get('/login');
      const spies = {
        ...Object.fromEntries(
          (['load', 'create', 'update', 'destroy'] as const).map((name) => [name, spy(store, name)]),
        ),
        ...Object.fromEntries((['add', 'keys', 'remove'] as const).map((name) => [name, spy(store.index, name)])),
        ...Object.fromEntries(CRYPTO.map((name) => [name, spy(crypto, name)])),
      };
      for (const path of ['/', '/who', '/change', '/change']) expect((await browser.get(path)).status).to.equal(200);
      for (const one of Object.values(spies)) one.restore();
      return Object.fromEntries(Object.entries(spies).map(([name, { callCount }]) => [name, callCount]));
    };
    const without = await countCalls({ deviceBound: false });
    expect(without).to.include({ update: 2, createHmac: 0 });
    expect(await countCalls({ deviceBound: true })).to.deep.equal(without);
  });

  it('adds one entry to the index at a login, and removes it at the logout', async () => {
    const countEntries = async (deviceBound: boolean): Promise<number[]> => {
      const store = new MemoryStore();
      const [added, removed] = [spy(store.index, 'add'), spy(store.index, 'remove')];
      const { browser } = await start({ store, deviceBound });
      await browser.get('/login');
      if (deviceBound) await browser.register();
      await browser.get('/logout');
      return [added.callCount, removed.callCount];
    };
    expect(await countEntries(false)).to.deep.equal([1, 1]);
    expect(await countEntries(true)).to.deep.equal([2, 2]);
  });

  it('works on an encrypted store', async () => {
    const clock = startClock();
    const { browser } = await start({ store: encrypted(new MemoryStore(), 'a secret of thirty-two characters') });
    await browser.bind();
    clock.tick(10 * MINUTE);
    expect(await whoIs(browser)).to.deep.equal(ANONYMOUS);
    await browser.ask();
    expect((await browser.prove()).status).to.equal(200);
    expect(await whoIs(browser)).to.deep.equal(BOUND);
  });

  it('leaves bound sessions as any others where it is switched off again', async () => {
    const clock = startClock();
    const store = new MemoryStore();
    const { browser } = await start({ store });
    await browser.bind();
    const { site: later } = await start({ store, deviceBound: false });
    clock.tick(10 * MINUTE);
    const { status, body } = await later.visitor().get('/who', { headers: { cookie: browser.client.cookie } });
    expect([status, JSON.parse(body).owner]).to.deep.equal([200, 'ada']);
  });

  it('publishes what happens to the binding', async () => {
    const clock = startClock();
    const events = listenTo('bound', 'refreshed', 'unbound', 'rejected');
    const { site, browser } = await start();
    await browser.bind();
    const [{ ref } = { ref: '' }] = await site.sessions.list('ada');
    await browser.ask();
    await browser.prove();
    clock.tick(10 * MINUTE);
    await browser.get('/who');
    const message: SessionEvent = { name: 'wsession', session: ref };
    expect(events).to.deep.equal([
      ['bound', message],
      ['refreshed', message],
      ['unbound', message],
      ['rejected', { ...message, reason: 'unbound' }],
    ]);
  });

  describe('throws at startup for', () => {
    const cases: Array<[SessionOptions, Store, RegExp]> = [
      [{ deviceBound: 1 as never }, new MemoryStore(), /deviceBound: expected true, false or/],
      [{ deviceBound: { lifetime: 299 } }, new MemoryStore(), /deviceBound\.lifetime: expected whole seconds from 300/],
      [{ deviceBound: { lifetime: 600.5 } }, new MemoryStore(), /deviceBound\.lifetime: expected whole seconds/],
      [{ deviceBound: { lifetime: Number.NaN } }, new MemoryStore(), /deviceBound\.lifetime/],
      [{ deviceBound: { path: 'x' } }, new MemoryStore(), /deviceBound\.path/],
      [{ deviceBound: { path: '/x"y' } }, new MemoryStore(), /deviceBound\.path/],
      [{ deviceBound: { path: '//elsewhere.test/x' } }, new MemoryStore(), /deviceBound\.path/],
      [{ deviceBound: { path: '/x/../y' } }, new MemoryStore(), /deviceBound\.path/],
      [{ deviceBound: true, name: '..' }, new MemoryStore(), /deviceBound\.path/],
      [{ deviceBound: { path: '/x/' } }, new MemoryStore(), /deviceBound\.path/],
      [{ deviceBound: { path: '/x' }, path: '/app' }, new MemoryStore(), /deviceBound\.path: expected a path below/],
      [{ deviceBound: { paht: '/x' } as never }, new MemoryStore(), /Unknown option paht of deviceBound/],
      [{ deviceBound: true }, new OpenStore(), /none with a store that seals/],
      [{ deviceBound: true }, new MemoryStore({ domain: 'example.com' }), /none with a domain/],
      [{ deviceBound: true, partitioned: true }, new MemoryStore({ secure: true }), /none with partitioned/],
    ];
    for (const [options, store, says] of cases)
      it(`${JSON.stringify(options)} with ${store.constructor.name}${store.domain ? ' of a domain' : ''}`, async () => {
        const error = await errorOf(() => session(store, options));
        expect(error).to.be.instanceOf(OptionError);
        expect(error.message).to.match(says);
      });

    it('a transport besides the cookie', async () => {
      const { headerTransport } = await import('koa-wsession');
      const transport = [headerTransport('x-session'), 'cookie'] as const;
      const error = await errorOf(() => session(new MemoryStore(), { deviceBound: true, transport }));
      expect(error.message).to.match(/none with a transport besides the cookie/);
    });

    it('none of that where it is off', () => {
      session(new OpenStore(), { deviceBound: false });
    });
  });
});
