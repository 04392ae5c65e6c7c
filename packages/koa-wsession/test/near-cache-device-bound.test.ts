import { expect } from 'chai';
import { MemoryStore } from 'koa-wsession/memory';
import { nearCache } from 'koa-wsession/near-cache';
import type { ChangeListener, Changes, DestroyCall, Store } from 'koa-wsession/store';
import { type SinonFakeTimers, useFakeTimers } from 'sinon';
import { DeviceBrowser } from './device-browser.js';
import { createSite, type Handler, type Site, tidy } from './helpers.js';

/* Device-bound sessions in two processes, each with a near cache. */

const MAX_AGE = 1000;
/** Seconds after a registration in which requests count without a bound cookie. */
const GRACE = 30;

const handlers: Record<string, Handler> = {
  '/login': (ctx, sessions) => sessions.of(ctx).logIn('ada'),
  '/logout': (ctx, sessions) => sessions.of(ctx).logOut(),
  '/who': (ctx, sessions) => {
    const { owner, deviceBound } = sessions.of(ctx);
    return { owner: owner ?? null, deviceBound };
  },
};

const BOUND = { owner: 'ada', deviceBound: true };
const UNBOUND = { owner: 'ada', deviceBound: false };
const ANONYMOUS = { owner: null, deviceBound: false };

/** Announces a change at once, or so late that the test is over. */
class SharedStore extends MemoryStore {
  loads = 0;
  readonly #announces: boolean;
  readonly #listeners = new Set<ChangeListener>();
  readonly changes = {
    subscribe: (listener: ChangeListener) => {
      this.#listeners.add(listener);
      return () => void this.#listeners.delete(listener);
    },
    // What is late holds back the proof that all was heard.
    sync: async () => {
      if (!this.#announces && this.isChanged) throw new Error('late');
    },
  };
  isChanged = false;

  constructor(announces: boolean) {
    super();
    this.#announces = announces;
  }

  override load(key: string, call?: unknown) {
    if (call) this.loads++;
    return super.load(key);
  }

  override update(key: string, changes: Changes) {
    return this.#announce(key, super.update(key, changes));
  }

  override destroy(key: string, call: DestroyCall) {
    return this.#announce(key, super.destroy(key, call));
  }

  #announce<T>(key: string, answer: T): T {
    this.isChanged = true;
    if (this.#announces) for (const listener of this.#listeners) listener.changed(key);
    return answer;
  }
}

for (const announces of [true, false])
  describe(`device binding through two near caches, ${announces ? 'with announcements' : 'whose announcements are late'}`, () => {
    let clock: SinonFakeTimers;
    let store: SharedStore;
    let sites: Site[];
    let caches: Store[];
    let browser: DeviceBrowser;
    beforeEach(async () => {
      clock = useFakeTimers({ toFake: ['Date', 'performance', 'setInterval', 'clearInterval'] });
      store = new SharedStore(announces);
      caches = [0, 1].map(() => nearCache(store, { maxAge: MAX_AGE }));
      sites = await Promise.all(caches.map((cache) => createSite(handlers, { store: cache, deviceBound: true })));
      for (const { app } of sites) app.proxy = true;
      browser = new DeviceBrowser(sites[0] as Site);
    });
    afterEach(async () => {
      for (const cache of caches) await cache.close?.();
      await tidy();
    });

    /** Sends what follows to one of the processes. */
    const at = (process: number, one: DeviceBrowser = browser): DeviceBrowser =>
      Object.assign(one, { client: Object.assign(one.client, { url: sites[process]?.served.url }) });
    const whoIs = async (process: number, one: DeviceBrowser = browser): Promise<unknown> =>
      (await at(process, one).get('/who')).json();
    /** Until what a cache holds is used no longer. */
    const settle = (): Promise<number> => clock.tickAsync(MAX_AGE);

    it('a registration in one process binds in the other, within maxAge', async () => {
      await at(0).get('/login');
      for (const process of [0, 1, 1]) expect(await whoIs(process)).to.deep.equal(UNBOUND); // now both have it
      expect((await at(1).register()).status).to.equal(200);
      expect(await whoIs(1)).to.deep.equal(BOUND);
      expect(await whoIs(0)).to.deep.equal(announces ? BOUND : UNBOUND);
      await settle();
      expect(await whoIs(0)).to.deep.equal(BOUND);
    });

    it('a registration counts once, in whatever process', async () => {
      await at(0).get('/login');
      for (const process of [0, 1]) await whoIs(process);
      const jwt = browser.registration();
      expect((await at(0).register(jwt)).status).to.equal(200);
      expect((await at(1).register(jwt)).status).to.equal(403);
    });

    it('a copied cookie is of no use, in either process', async () => {
      await at(0).get('/login');
      await at(0).register();
      await clock.tickAsync(GRACE * 1000 + MAX_AGE);
      for (const process of [0, 1]) expect(await whoIs(process)).to.deep.equal(BOUND);
      const thief = browser.stolen();
      thief.loseBoundCookie();
      for (const process of [0, 1, 0, 1]) expect(await whoIs(process, thief)).to.deep.equal(ANONYMOUS);
      for (const process of [0, 1]) expect(await whoIs(process)).to.deep.equal(BOUND);
    });

    it('the challenge of one process is answered in the other at once, and only once', async () => {
      await at(0).get('/login');
      await at(0).register();
      await clock.tickAsync(700_000);
      for (const process of [0, 1]) expect(await whoIs(process)).to.deep.equal(ANONYMOUS);
      browser.loseBoundCookie();
      expect((await at(0).ask()).status).to.equal(403);
      const jwt = browser.proof(browser.challenge ?? '');
      expect((await at(1).prove(jwt)).status).to.equal(200);
      for (const process of [0, 1]) expect(await whoIs(process)).to.deep.equal(BOUND);
      expect((await at(0).prove(jwt)).status).to.equal(403);
    });

    it('a logout in one process ends it in the other, within maxAge', async () => {
      await at(0).get('/login');
      await at(0).register();
      for (const process of [0, 1]) await whoIs(process);
      const copy = browser.stolen();
      for (const [name, value] of browser.client.jar) copy.client.jar.set(name, value);
      await at(1).get('/logout');
      await settle();
      for (const process of [0, 1]) expect(await whoIs(process, copy)).to.deep.equal(ANONYMOUS);
      expect((await at(0, copy).ask()).json()).to.include({ continue: false });
    });

    it('a page of a bound session takes no round trip', async () => {
      await at(0).get('/login');
      await at(0).register();
      await whoIs(0);
      await settle();
      store.isChanged = false;
      await clock.tickAsync(MAX_AGE); // synced
      await whoIs(0);
      const { loads } = store;
      for (let i = 0; i < 3; i++) expect(await whoIs(0)).to.deep.equal(BOUND);
      expect(store.loads).to.equal(loads);
    });
  });
