import crypto, { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { OptionError, type SessionEvent, type SessionOptions, session } from 'koa-wsession';
import { encrypted } from 'koa-wsession/encrypted';
import { MemoryStore } from 'koa-wsession/memory';
import type { SessionRecord, Store } from 'koa-wsession/store';
import { spy, stub, useFakeTimers } from 'sinon';
import { type Algorithm, DeviceBrowser, encodePart, signJwt } from './device-browser.js';
import { listenTo, stopListening } from './events-heard.js';
import { createSite, errorOf, type Handler, OpenStore, type Site, type SiteOptions, tidy } from './helpers.js';

/** What cryptography begins with. */
const CRYPTO = ['createHmac', 'createHash', 'hash', 'randomBytes', 'verify', 'createPublicKey'] as const;

const LOGIN = 1_000_000_000_000;
const MINUTE = 60_000;

const handlers: Record<string, Handler> = {
  '/': () => 'untouched',
  '/login': (ctx, sessions) => sessions.of(ctx).logIn('ada'),
  '/logout': (ctx, sessions) => sessions.of(ctx).logOut(),
  '/regenerate': (ctx) => ctx.session.regenerate(),
  '/confirm': (ctx, sessions) => sessions.of(ctx).confirm(),
  '/change': (ctx) => {
    ctx.session.n = (ctx.session.n ?? 0) + 1;
  },
  '/remember': (ctx) => {
    ctx.session.maxAge = 30 * 86_400_000;
  },
  '/who': (ctx, sessions) => {
    const { owner, deviceBound } = sessions.of(ctx);
    return { owner: owner ?? null, deviceBound };
  },
  '/expires': (ctx, sessions) => sessions.of(ctx).expiresAt?.getTime(),
  '/list': async (_ctx, sessions) => (await sessions.list('ada')).map(({ deviceBound }) => deviceBound),
  '/revoke': (_ctx, sessions) => sessions.revoke('ada'),
};

const BOUND = { owner: 'ada', deviceBound: true };
const UNBOUND = { owner: 'ada', deviceBound: false };
const ANONYMOUS = { owner: null, deviceBound: false };

function startClock(now: number = LOGIN): ReturnType<typeof useFakeTimers> {
  return useFakeTimers({ now, toFake: ['Date'] });
}

async function start(options: SiteOptions = {}): Promise<{ site: Site; browser: DeviceBrowser }> {
  const site = await createSite(handlers, { deviceBound: true, ...options });
  return { site, browser: new DeviceBrowser(site) };
}

async function whoIs(browser: DeviceBrowser, headers: Record<string, string> = {}): Promise<unknown> {
  return (await browser.get('/who', headers)).json();
}

const boundLine = (lines: readonly string[]): string | undefined => lines.find((line) => /^\w+_bound=/.test(line));

describe('session(store, { deviceBound })', () => {
  afterEach(stopListening);
  afterEach(tidy);

  describe('at the login', () => {
    it('offers a registration, and nowhere else', async () => {
      const { browser } = await start();
      for (const path of ['/change', '/who', '/regenerate']) await browser.get(path);
      expect(browser.offer).to.equal(undefined);
      await browser.get('/login');
      expect(browser.offer).to.match(/^\(ES256 RS256\);path="\/device-bound\/register";challenge="[\w-]{32}"$/);
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

  describe('a registration', () => {
    for (const algorithm of ['ES256', 'RS256'] satisfies Algorithm[])
      it(`binds the session to a key for ${algorithm}`, async () => {
        const { site } = await start();
        const browser = new DeviceBrowser(site, algorithm);
        await browser.get('/login');
        const reply = await browser.register();
        expect([reply.status, reply.headers['cache-control']]).to.deep.equal([200, 'no-store']);
        expect(reply.json()).to.deep.equal({
          session_identifier: browser.id,
          refresh_url: '/device-bound/refresh',
          scope: { origin: 'https://shop.test', include_site: false },
          credentials: [
            { type: 'cookie', name: 'wsession_bound', attributes: 'Path=/; Secure; HttpOnly; SameSite=Lax' },
          ],
          allowed_refresh_initiators: ['*'],
        });
        expect(reply.setCookie).to.have.length(1);
        expect(reply.setCookie[0]).to.match(
          /^wsession_bound=[\w.-]+; Max-Age=600; Path=\/; Secure; HttpOnly; SameSite=Lax$/,
        );
        expect(await whoIs(browser)).to.deep.equal(BOUND);
        expect((await browser.get('/list')).json()).to.deep.equal([true]);
      });

    it('follows the options', async () => {
      const { browser } = await start({
        name: '__Host-sid',
        sameSite: 'strict',
        store: new MemoryStore({ secure: true }),
        deviceBound: { path: '/auth/device', lifetime: 300 },
      });
      await browser.get('/login');
      const { setCookie } = await browser.register();
      expect(boundLine(['x', ...setCookie.map((line) => line.replace('__Host-', ''))])).to.match(
        /^sid_bound=[\w.-]+; Max-Age=300; Path=\/; Secure; HttpOnly; SameSite=Strict$/,
      );
      expect(browser.instructions.refresh_url).to.equal('/auth/device/refresh');
      expect((await browser.ask()).status).to.equal(403);
    });

    it('stays below the path of the cookie', async () => {
      const site = await createSite(
        { '/app/login': handlers['/login'] as Handler, '/app/who': handlers['/who'] as Handler },
        { deviceBound: true, path: '/app' },
      );
      const browser = new DeviceBrowser(site);
      await browser.get('/app/login');
      expect(browser.offer).to.include('path="/app/device-bound/register"');
      const { setCookie } = await browser.register();
      expect(setCookie[0]).to.include('; Path=/app;');
      expect((await browser.get('/app/who')).json()).to.deep.equal(BOUND);
    });

    it('is answered once', async () => {
      const { browser } = await start();
      await browser.get('/login');
      const jwt = browser.registration();
      expect((await browser.register(jwt)).status).to.equal(200);
      const again = await browser.stolen().register(jwt);
      expect([again.status, again.setCookie]).to.deep.equal([403, []]);
    });

    it('is answered to one of several at once', async () => {
      const { browser } = await start();
      await browser.get('/login');
      const replies = await Promise.all(Array.from({ length: 5 }, () => browser.register()));
      expect(replies.map(({ status }) => status).sort()).to.deep.equal([200, 403, 403, 403, 403]);
    });

    it('is answered for a minute', async () => {
      const clock = startClock();
      const { browser } = await start();
      await browser.get('/login');
      clock.tick(MINUTE);
      expect((await browser.register()).status).to.equal(403);
      expect(await whoIs(browser)).to.deep.equal(UNBOUND);
      await browser.get('/login');
      clock.tick(MINUTE - 1);
      expect((await browser.register()).status).to.equal(200);
    });

    it('is answered under the id that took the place of the login’s meanwhile', async () => {
      const { browser } = await start();
      await browser.get('/login');
      const { cookie } = browser.client;
      await browser.get('/regenerate');
      const reply = await browser.request('POST', '/device-bound/register', {
        headers: { cookie, 'secure-session-response': browser.registration() },
      });
      expect(reply.status).to.equal(200);
      expect(await whoIs(browser)).to.deep.equal(BOUND);
    });

    it('is refused to a session that the challenge isn’t of', async () => {
      const { site, browser } = await start();
      await browser.get('/login');
      const other = new DeviceBrowser(site);
      await other.get('/login');
      expect((await other.register(other.registration(browser.offered))).status).to.equal(403);
      expect(await whoIs(other)).to.deep.equal(UNBOUND);
    });

    it('finds the session without its cookie, which Chromium leaves out after a link from another site', async () => {
      const { site, browser } = await start();
      await browser.get('/login');
      const cookieless = new DeviceBrowser(site);
      expect((await cookieless.register(new DeviceBrowser(site).registration('x'))).status).to.equal(403);
      const { status, setCookie } = await cookieless.register(browser.registration());
      expect([status, setCookie.length]).to.deep.equal([200, 1]);
      expect(cookieless.client.jar.has('wsession')).to.equal(false);
      expect(await whoIs(browser)).to.deep.equal(BOUND);
    });

    it('leaves the session’s expiry', async () => {
      const clock = startClock();
      const { browser } = await start();
      await browser.get('/login');
      clock.tick(10_000);
      await browser.register();
      expect((await browser.get('/expires')).json()).to.equal(LOGIN + 3_600_000);
    });

    it('stores neither a challenge nor an id', async () => {
      const store = new MemoryStore();
      const writes: string[] = [];
      for (const method of ['create', 'update'] as const) {
        const original = store[method].bind(store) as (...args: unknown[]) => never;
        stub(store, method).callsFake((...args: unknown[]) => {
          const { entries, set } = args[1] as Record<string, Map<string, string> | undefined>;
          writes.push(JSON.stringify([...(entries ?? set ?? [])]));
          return original(...args);
        });
      }
      const { browser } = await start({ store });
      await browser.bind();
      await browser.ask();
      for (const secret of [browser.offered, browser.challenge as string, browser.client.jar.get('wsession') as string])
        expect(writes.join()).to.not.include(secret);
    });

    for (const algorithm of ['ES256', 'RS256'] satisfies Algorithm[])
      it(`takes the JWTs that Chromium made for ${algorithm}`, async () => {
        const file = new URL('../test/fixtures/chromium-proofs.json', import.meta.url);
        const { registration, proof, at, secret } = JSON.parse(readFileSync(file, 'utf8'))[algorithm];
        startClock(at);
        const store = new MemoryStore();
        const { site, browser } = await start({ store });
        await browser.get('/login');
        const [{ ref } = { ref: '' }] = await site.sessions.list('ada');
        const change = (key: string, entry: object) =>
          store.update(ref, {
            set: new Map([[key, JSON.stringify(entry)]]),
            delete: [],
            updatedAt: Date.now(),
            expiresAt: undefined,
          });
        const { jti } = JSON.parse(Buffer.from(registration.split('.')[1], 'base64url').toString());
        const id = createHash('sha256').update(`wsession\0device:${jti}`).digest('base64url');
        change('\0deviceOffer', { id, until: Date.now() + MINUTE });
        expect((await browser.register(proof)).status).to.equal(403);
        expect((await browser.register(registration)).status).to.equal(200);
        const { entries } = store.load(ref) as SessionRecord;
        change('\0device', { ...JSON.parse(entries.get('\0device') ?? ''), secret });
        expect((await browser.prove(registration)).status).to.equal(403);
        expect((await browser.prove(proof)).status).to.equal(200);
      });

    it('isn’t there for other methods, other paths, and over plain http', async () => {
      const { browser } = await start();
      await browser.bind();
      for (const [method, path] of [
        ['GET', '/device-bound/register'],
        ['GET', '/device-bound/refresh'],
        ['POST', '/device-bound/refresh/'],
        ['POST', '/device-bound'],
      ] as const)
        expect((await browser.request(method, path)).status).to.equal(404);
      const plain = { headers: { 'x-forwarded-proto': 'http' } };
      expect((await browser.request('POST', '/device-bound/refresh', plain)).status).to.equal(404);
    });

    it('comes before middleware that would refuse or read the request', async () => {
      const { site, browser } = await start();
      site.app.use((ctx) => ctx.throw(418));
      await browser.bind();
      expect(browser.id).to.match(/^[\w-]{43}$/);
    });
  });

  describe('a refresh', () => {
    it('asks for a proof, and gives a new cookie for it', async () => {
      const clock = startClock();
      const { browser } = await start();
      await browser.bind();
      clock.tick(9 * MINUTE);
      const asked = await browser.ask();
      expect([asked.status, asked.setCookie]).to.deep.equal([403, []]);
      expect(asked.headers['secure-session-challenge']).to.match(new RegExp(`^"[\\w.-]{65}";id="${browser.id}"$`));
      const before = browser.client.jar.get('wsession_bound');
      const proven = await browser.prove();
      expect(proven.status).to.equal(200);
      expect(proven.json()).to.deep.equal(browser.instructions);
      expect(browser.client.jar.get('wsession_bound')).to.not.equal(before);
      clock.tick(9 * MINUTE);
      expect(await whoIs(browser)).to.deep.equal(BOUND);
      clock.tick(2 * MINUTE);
      expect(await whoIs(browser)).to.deep.equal(ANONYMOUS);
    });

    it('takes the challenge that came with the last one', async () => {
      const { browser } = await start();
      await browser.bind();
      await browser.ask();
      expect((await browser.prove()).status).to.equal(200);
      expect((await browser.prove()).status).to.equal(200);
    });

    it('takes each challenge once, also those that came before the last', async () => {
      const { browser } = await start();
      await browser.bind();
      const jwts: string[] = [];
      for (let i = 0; i < 3; i++) {
        await browser.ask();
        jwts.push(browser.proof(browser.challenge as string));
      }
      for (const jwt of jwts) expect((await browser.prove(jwt)).status).to.equal(200);
      for (const jwt of jwts) expect((await browser.prove(jwt)).status).to.equal(403);
    });

    it('takes none that is older than the last eight that were answered', async () => {
      const clock = startClock();
      const store = new MemoryStore();
      const { site, browser } = await start({ store });
      await browser.bind();
      await browser.ask();
      const old = browser.proof(browser.challenge as string);
      const answered: string[] = [];
      for (let i = 0; i < 9; i++) {
        clock.tick(1);
        await browser.ask();
        answered.push(browser.proof(browser.challenge as string));
        expect((await browser.prove(answered[i])).status).to.equal(200);
      }
      for (const jwt of [old, ...answered]) expect((await browser.prove(jwt)).status).to.equal(403);
      const [{ ref } = { ref: '' }] = await site.sessions.list('ada');
      const { entries } = store.load(ref) as SessionRecord;
      expect(JSON.parse(entries.get('\0device') ?? '').answered).to.have.length(8);
      expect((await browser.prove()).status).to.equal(200);
    });

    it('isn’t kept from a challenge by other clients that ask, nor by wrong proofs: neither stores anything', async () => {
      const store = new MemoryStore();
      const { browser } = await start({ store });
      await browser.bind();
      await browser.ask();
      const jwt = browser.proof(browser.challenge as string);
      const thief = browser.stolen();
      const writes = [spy(store, 'update'), spy(store, 'create')];
      for (let i = 0; i < 20; i++) await thief.ask();
      expect((await thief.prove()).status).to.equal(403);
      expect(writes.map(({ callCount }) => callCount)).to.deep.equal([0, 0]);
      expect((await browser.prove(jwt)).status).to.equal(200);
    });

    it('takes no bound cookie for a challenge, and no challenge for a bound cookie', async () => {
      const clock = startClock();
      const { browser } = await start();
      await browser.bind();
      const bound = browser.client.jar.get('wsession_bound') as string;
      expect((await browser.prove(browser.proof(bound))).status).to.equal(403);
      clock.tick(MINUTE);
      await browser.ask();
      const cookie = `wsession=${browser.client.jar.get('wsession')}; wsession_bound=${browser.challenge}`;
      expect(await whoIs(browser, { cookie })).to.deep.equal(ANONYMOUS);
    });

    it('takes a challenge once of several at once', async () => {
      const { browser } = await start();
      await browser.bind();
      await browser.ask();
      const jwt = browser.proof(browser.challenge as string);
      const replies = await Promise.all(Array.from({ length: 4 }, () => browser.prove(jwt)));
      expect(replies.map(({ status }) => status).sort()).to.deep.equal([200, 403, 403, 403]);
    });

    it('takes a challenge for longer than the cookie lives, and not for ever', async () => {
      const clock = startClock();
      const { browser } = await start({ store: new MemoryStore({ expire: 86_400 }) });
      await browser.bind();
      await browser.ask();
      clock.tick(20 * MINUTE - 1);
      expect((await browser.prove()).status).to.equal(200);
      clock.tick(20 * MINUTE);
      expect((await browser.prove()).status).to.equal(403);
      expect((await browser.prove()).status).to.equal(200);
    });

    it('leaves the session’s expiry, so that it ends when it would have', async () => {
      const clock = startClock();
      const { browser } = await start({ store: new MemoryStore({ expire: 1000 }), rolling: true });
      await browser.bind();
      clock.tick(900_000);
      await browser.ask();
      expect((await browser.prove()).status).to.equal(200);
      clock.tick(100_000);
      expect(await whoIs(browser)).to.deep.equal(ANONYMOUS);
    });

    it('refuses another key, and the session goes on', async () => {
      const { browser } = await start();
      await browser.bind();
      await browser.ask();
      const thief = browser.stolen();
      const reply = await thief.prove(thief.proof(browser.challenge as string));
      expect([reply.status, reply.setCookie]).to.deep.equal([403, []]);
      expect((await browser.prove()).status).to.equal(200);
      expect(await whoIs(browser)).to.deep.equal(BOUND);
    });

    it('ends the browser’s session where it is another one than the cookie’s, and touches no cookie', async () => {
      const { browser } = await start();
      await browser.bind();
      const former = browser.id;
      await browser.bind();
      expect(browser.id).to.not.equal(former);
      for (const reply of [await browser.ask(former), await browser.prove(browser.proof('x'), former)]) {
        expect([reply.status, reply.json(), reply.setCookie]).to.deep.equal([
          200,
          { session_identifier: former, continue: false },
          [],
        ]);
      }
      const unknown = await browser.request('POST', '/device-bound/refresh', {
        headers: { cookie: `wsession=${'x'.repeat(32)}`, 'sec-secure-session-id': `"${browser.id}"` },
      });
      expect(unknown.json()).to.deep.equal({ session_identifier: browser.id, continue: false });
      expect(await whoIs(browser)).to.deep.equal(BOUND);
    });

    for (const path of ['/logout', '/revoke'])
      it(`ends the browser’s session after ${path.slice(1)}`, async () => {
        const { browser } = await start();
        await browser.bind();
        await browser.get(path);
        expect((await browser.ask()).json()).to.deep.equal({ session_identifier: browser.id, continue: false });
      });

    it('follows the session under a new id, also with the former cookie', async () => {
      const clock = startClock();
      const { browser } = await start();
      await browser.bind();
      const { cookie } = browser.client;
      for (let i = 0; i < 3; i++) await browser.get('/regenerate');
      const { id } = browser;
      const late = await browser.request('POST', '/device-bound/refresh', {
        headers: { cookie, 'sec-secure-session-id': id },
      });
      expect(late.status).to.equal(403);
      await browser.ask();
      expect((await browser.prove()).status).to.equal(200);
      clock.tick(9 * MINUTE);
      expect(await whoIs(browser)).to.deep.equal(BOUND);
    });

    it('finds the session without its cookie, also under a later id, until it has ended', async () => {
      const { site, browser } = await start();
      await browser.bind();
      const { id, keys } = browser;
      const cookieless = Object.assign(new DeviceBrowser(site), { id, keys });
      for (const path of ['/who', '/regenerate', '/regenerate']) {
        await browser.get(path);
        await cookieless.ask();
        cookieless.client.jar.clear();
        expect((await cookieless.prove()).status).to.equal(200);
        cookieless.client.jar.clear();
      }
      await browser.get('/logout');
      expect((await cookieless.ask()).json()).to.deep.equal({ session_identifier: id, continue: false });
    });

    it('finds it as long as the session lives, also where its lifetime changed meanwhile', async () => {
      const clock = startClock();
      const { site, browser } = await start({ store: new MemoryStore({ expire: 300 }) });
      await browser.bind();
      const { id, keys } = browser;
      const cookieless = Object.assign(new DeviceBrowser(site), { id, keys });
      for (const [path, minutes] of [
        ['/change', 4],
        ['/change', 4],
        ['/remember', 40_000],
      ] as const) {
        await browser.get(path);
        clock.tick(minutes * MINUTE);
        await cookieless.ask();
        expect((await cookieless.prove()).status).to.equal(200);
        const cookie = `wsession=${browser.client.jar.get('wsession')}; ${cookieless.client.cookie}`;
        expect(await whoIs(browser, { cookie })).to.deep.equal(BOUND);
        cookieless.client.jar.clear();
      }
    });

    it('looks for it under one id, however often that changed', async () => {
      const store = new MemoryStore();
      const { site, browser } = await start({ store });
      await browser.bind();
      const { id, keys } = browser;
      for (let i = 0; i < 5; i++) await browser.get('/regenerate');
      const load = spy(store, 'load');
      await Object.assign(new DeviceBrowser(site), { id, keys }).ask();
      expect(load.callCount).to.equal(1);
    });

    it('responds with 503 while the store is down, and goes on afterwards', async () => {
      const store = new MemoryStore();
      const { browser } = await start({ store });
      await browser.bind();
      await browser.ask();
      for (const method of ['load', 'update'] as const) {
        const failing = stub(store, method).throws(new Error('down'));
        expect((await browser.prove()).status).to.equal(503);
        if (method === 'load') expect((await browser.ask()).status).to.equal(503);
        failing.restore();
      }
      await browser.ask();
      expect((await browser.prove()).status).to.equal(200);
    });

    it('works in several processes', async () => {
      const store = new MemoryStore();
      const { browser } = await start({ store });
      const { site: other } = await start({ store });
      other.app.proxy = true;
      await browser.bind();
      await browser.ask();
      const elsewhere = Object.assign(new DeviceBrowser(other), {
        id: browser.id,
        keys: browser.keys,
        challenge: browser.challenge,
      });
      for (const [name, value] of browser.client.jar) elsewhere.client.jar.set(name, value);
      expect((await elsewhere.prove()).status).to.equal(200);
      expect(await whoIs(browser)).to.deep.equal(BOUND);
      expect(await whoIs(elsewhere)).to.deep.equal(BOUND);
    });
  });

  describe('a request with the cookies of a bound session', () => {
    it('is an anonymous visitor’s once the bound cookie has expired', async () => {
      const clock = startClock();
      const { browser } = await start();
      await browser.bind();
      const thief = browser.stolen();
      clock.tick(10 * MINUTE - 1);
      expect(await whoIs(thief)).to.deep.equal(BOUND);
      clock.tick(1);
      const reply = await thief.get('/who');
      expect(reply.json()).to.deep.equal(ANONYMOUS);
      expect(reply.setCookie).to.deep.equal([
        'wsession_bound=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/; Secure; HttpOnly; SameSite=Lax',
      ]);
      await browser.ask();
      await browser.prove();
      expect([await whoIs(browser), await whoIs(thief)]).to.deep.equal([BOUND, ANONYMOUS]);
    });

    it('is an anonymous visitor’s without a bound cookie, or with one that isn’t the session’s', async () => {
      const clock = startClock();
      const { site, browser } = await start();
      await browser.bind();
      const other = await new DeviceBrowser(site).bind();
      clock.tick(30_000);
      const bound = browser.client.jar.get('wsession_bound') as string;
      const later = `${(LOGIN + 10 ** 9).toString(36)}${bound.slice(bound.indexOf('.'))}`;
      for (const value of [undefined, '', 'x', '.', later, `${bound}x`, other.client.jar.get('wsession_bound')]) {
        const cookie = `wsession=${browser.client.jar.get('wsession')}${value === undefined ? '' : `; wsession_bound=${value}`}`;
        const reply = await browser.get('/who', { cookie });
        expect(reply.json()).to.deep.equal(ANONYMOUS);
        expect(reply.setCookie.length, String(value)).to.equal(value === undefined ? 0 : 1);
      }
      const twice = `wsession=${browser.client.jar.get('wsession')}; wsession_bound=x; wsession_bound=${bound}`;
      expect(await whoIs(browser, { cookie: twice })).to.deep.equal(BOUND);
    });

    it('counts without a bound cookie for 30 seconds after the registration', async () => {
      const clock = startClock();
      const { browser } = await start();
      await browser.bind();
      browser.loseBoundCookie();
      clock.tick(29_999);
      expect(await whoIs(browser)).to.deep.equal(BOUND);
      clock.tick(1);
      expect(await whoIs(browser)).to.deep.equal(ANONYMOUS);
    });

    it('may begin a new session, while the old one stays listed', async () => {
      const clock = startClock();
      const { browser } = await start();
      await browser.bind();
      const thief = browser.stolen();
      clock.tick(10 * MINUTE);
      await thief.get('/change');
      expect(await whoIs(thief)).to.deep.equal(ANONYMOUS);
      expect(thief.client.jar.get('wsession')).to.not.equal(browser.client.jar.get('wsession'));
      await thief.get('/login');
      expect((await thief.get('/list')).json()).to.deep.equal([false, true]);
      expect(await whoIs(thief)).to.deep.equal(UNBOUND);
    });

    it('ends nothing by a logout', async () => {
      const clock = startClock();
      const { browser } = await start();
      await browser.bind();
      const thief = browser.stolen();
      clock.tick(10 * MINUTE);
      expect((await thief.get('/logout')).status).to.equal(200);
      await browser.ask();
      await browser.prove();
      expect(await whoIs(browser)).to.deep.equal(BOUND);
    });

    it('is a 503 where it uses the session and the browser couldn’t renew the proof', async () => {
      const clock = startClock();
      const { site, browser } = await start();
      await browser.bind();
      browser.loseBoundCookie();
      clock.tick(10 * MINUTE);
      const skipped = (id: string) => ({ 'secure-session-skipped': `quota_exceeded;session_identifier="${id}"` });
      for (const path of ['/who', '/change', '/login', '/logout']) {
        const reply = await browser.get(path, skipped(browser.id));
        expect([reply.status, reply.headers['retry-after'], reply.setCookie]).to.deep.equal([503, '10', []]);
      }
      expect((await browser.get('/', skipped(browser.id))).status).to.equal(200);
      expect((await browser.get('/who', { 'secure-session-skipped': 'unreachable' })).status).to.equal(503);
      expect(await whoIs(browser, skipped('another'))).to.deep.equal(ANONYMOUS);
      expect(site.errors.map(({ code }) => code)).to.include('WSESSION_UNPROVEN');
    });

    it('is neither judged nor answered differently where it leaves the session alone', async () => {
      const clock = startClock();
      const { browser } = await start();
      await browser.bind();
      clock.tick(10 * MINUTE);
      const events = listenTo('unbound');
      const reply = await browser.get('/');
      expect([reply.body, reply.setCookie, events]).to.deep.equal(['"untouched"', [], []]);
    });

    it('is judged outside Koa, too', async () => {
      const clock = startClock();
      const store = new MemoryStore();
      const { site, browser } = await start({ store });
      await browser.bind();
      const owners: unknown[] = [];
      const { createServer } = await import('node:http');
      const server = createServer(async (request, response) => {
        const opened = await site.sessions.open(request, { response });
        owners.push(site.sessions.of(opened).owner);
        response.end();
      }).listen(0, '127.0.0.1');
      await once(server, 'listening');
      const url = `http://127.0.0.1:${(server.address() as { port: number }).port}`;
      const visit = (path: string) =>
        fetch(`${url}${path}`, { method: 'POST', headers: { cookie: browser.client.cookie } });
      await visit('/');
      clock.tick(10 * MINUTE);
      for (const path of ['/', '/device-bound/refresh']) await visit(path);
      server.close();
      server.closeAllConnections();
      expect(owners).to.deep.equal(['ada', undefined, undefined]);
    });

    it('is an anonymous visitor’s where the binding can’t be read', async () => {
      const store = new MemoryStore();
      const { site, browser } = await start({ store });
      await browser.bind();
      const [{ ref } = { ref: '' }] = await site.sessions.list('ada');
      for (const text of ['', '{', 'null', '1', '{}', '[]', '{"secret":1}']) {
        const set = new Map([['\0device', text]]);
        store.update(ref, { set, delete: [], updatedAt: Date.now(), expiresAt: undefined });
        const events = listenTo('rejected');
        expect(await whoIs(browser)).to.deep.equal(ANONYMOUS);
        expect(events.map(([, { reason }]) => reason)).to.deep.equal(['corrupt']);
        stopListening();
        expect((await browser.prove(browser.registration('x'))).json().continue).to.equal(false);
      }
    });

    it('isn’t imported by migrate while the proof is missing', async () => {
      const clock = startClock();
      const { browser } = await start({ migrate: () => ({ n: 5 }) });
      await browser.bind();
      browser.loseBoundCookie();
      clock.tick(10 * MINUTE);
      const reply = await browser.get('/', { 'secure-session-skipped': 'unreachable' });
      expect([reply.status, reply.setCookie]).to.deep.equal([200, []]);
    });

    it('stays bound under each new id', async () => {
      const clock = startClock();
      const { browser } = await start();
      await browser.bind();
      for (const path of ['/regenerate', '/confirm']) {
        const before = browser.client.jar.get('wsession');
        await browser.get(path);
        expect(browser.client.jar.get('wsession')).to.not.equal(before);
        expect(await whoIs(browser)).to.deep.equal(BOUND);
      }
      clock.tick(10 * MINUTE);
      expect(await whoIs(browser)).to.deep.equal(ANONYMOUS);
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

describe('hostile requests to the device’s paths', () => {
  afterEach(tidy);

  const part = (value: unknown) => (typeof value === 'string' ? value : encodePart(value));

  it('bind nothing, and are never a 5xx', async () => {
    const { site, browser } = await start();
    const rsa = new DeviceBrowser(site, 'RS256');
    await browser.get('/login');
    const jti = browser.offered;
    const jwk = browser.keys.publicKey.export({ format: 'jwk' });
    const rsaJwk = rsa.keys.publicKey.export({ format: 'jwk' });
    const good = { alg: 'ES256', jwk, typ: 'dbsc+jwt' };
    const [head, payload, signature] = browser.registration().split('.') as [string, string, string];
    const { newKeys } = await import('./device-browser.js');
    const { generateKeyPairSync } = await import('node:crypto');
    const ec = (namedCurve: string) => generateKeyPairSync('ec', { namedCurve });
    const own = (header: object, keys = browser.keys, claims: object = { jti }) =>
      signJwt(header, claims, keys.privateKey);
    const withKey = (keys: ReturnType<typeof newKeys>, alg: string) =>
      own({ alg, jwk: keys.publicKey.export({ format: 'jwk' }), typ: 'dbsc+jwt' }, keys);
    const jwts = [
      ...['', '.', '..', 'a.b.c', 'a.b', `${head}.${payload}`, `${head}.${payload}.`, `.${payload}.${signature}`],
      ...[`${head}.${payload}.${signature}=`, `${head}.${payload}.${signature}.x`, ` ${head}.${payload}.!!`],
      `${head}=.${payload}.${signature}`,
      `${head}.${payload}.${signature.slice(0, -2)}`,
      `${head}.${payload}.${'A'.repeat(86)}`,
      `${head}.${payload}.${toOtherForm(signature)}`,
      ...['none', 'HS256', 'ES384', 'RS256', 'PS256', 'es256', '', undefined, null, 1].map((alg) =>
        own({ ...good, alg }),
      ),
      `${part({ ...good, alg: 'none' })}.${payload}.`,
      ...[undefined, 'JWT', 'dbsc+jwt ', 1].map((typ) => own({ ...good, typ })),
      own({ ...good, crit: ['x'] }),
      own({ ...good, jwk: undefined }),
      ...[null, 1, 'x', [], {}, { kty: 'oct', k: 'AAAA' }].map((one) => own({ ...good, jwk: one })),
      own({ ...good, jwk: { ...jwk, x: 'AAAA' } }),
      own({ ...good, jwk: { ...jwk, x: jwk.y } }),
      own({ ...good, jwk: { ...jwk, x: `${jwk.x}A` } }),
      own({ ...good, jwk: { ...jwk, crv: 'P-384' } }),
      own({ ...good, jwk: rsaJwk }),
      own({ alg: 'RS256', jwk, typ: 'dbsc+jwt' }),
      own({ alg: 'ES256', jwk: rsaJwk, typ: 'dbsc+jwt' }, rsa.keys),
      own({ alg: 'RS256', jwk: { ...rsaJwk, e: 'AQ' }, typ: 'dbsc+jwt' }, rsa.keys),
      withKey(ec('P-384'), 'ES256'),
      withKey(ec('secp256k1'), 'ES256'),
      withKey(newKeys('RS256', 1024), 'RS256'),
      own({ ...good, jwk: generateKeyPairSync('ed25519').publicKey.export({ format: 'jwk' }) }),
      ...[undefined, null, 1, {}, [jti], `${jti} `, jti.toUpperCase(), ''].map((one) =>
        own(good, browser.keys, { jti: one }),
      ),
      ...['null', '[]', '"x"', '{', ''].map(
        (text) => `${Buffer.from(text).toString('base64url')}.${payload}.${signature}`,
      ),
      ...['null', '[]', '"x"', '{', ''].map(
        (text) => `${head}.${Buffer.from(text).toString('base64url')}.${signature}`,
      ),
      own({ ...good, x: 'y'.repeat(5000) }),
      `${'a'.repeat(3000)}.${'b'.repeat(3000)}.c`,
    ];
    for (const jwt of jwts) {
      const reply = await browser.register(jwt);
      expect([reply.status, reply.setCookie], jwt.slice(0, 200)).to.deep.equal([403, []]);
    }
    expect(await whoIs(browser)).to.deep.equal(UNBOUND);
    expect((await browser.register()).status).to.equal(200);

    for (const jwt of jwts) expect((await browser.prove(jwt)).status).to.equal(403);
    await browser.ask();
    const challenge = browser.challenge as string;
    const thief = browser.stolen();
    const forged = [
      thief.proof(challenge),
      thief.registration(challenge),
      signJwt(
        { ...good, jwk: thief.keys.publicKey.export({ format: 'jwk' }) },
        { jti: challenge },
        thief.keys.privateKey,
      ),
      `${part({ alg: 'none', typ: 'dbsc+jwt' })}.${part({ jti: challenge })}.`,
      browser.proof(browser.offered),
    ];
    for (const jwt of forged) {
      const reply = await thief.prove(jwt);
      expect([reply.status, reply.setCookie]).to.deep.equal([403, []]);
    }
    expect(site.errors).to.deep.equal([]);
  });

  it('with damaged JWTs and any headers bind nothing, and are never a 5xx', async () => {
    const { site, browser } = await start();
    await browser.get('/login');
    const random = seeded(20_261_126);
    const damage = (text: string): string => {
      const at = Math.floor(random() * text.length);
      const other = String.fromCharCode(33 + Math.floor(random() * 94));
      const kind = Math.floor(random() * 3);
      if (kind === 0) return text.slice(0, at) + (other === text[at] ? '' : other) + text.slice(at + 1);
      return kind === 1 ? text.slice(0, at) : text.slice(0, at) + other + text.slice(at);
    };
    for (let i = 0; i < 300; i++) {
      const reply = await browser.register(damage(browser.registration()));
      expect([reply.status, reply.setCookie]).to.deep.equal([403, []]);
    }
    await browser.register();
    for (let i = 0; i < 300; i++) {
      const headers = {
        'sec-secure-session-id': random() < 0.5 ? browser.id : damage(`"${browser.id}"`),
        'secure-session-response': damage(browser.proof(browser.challenge ?? 'x')),
        'secure-session-skipped': damage(`unreachable;session_identifier="${browser.id}"`),
      };
      const reply = await browser.request('POST', '/device-bound/refresh', { headers });
      expect(reply.status).to.be.oneOf([200, 403]);
      expect(reply.setCookie).to.deep.equal([]);
      if (reply.status === 200) expect(reply.json().continue).to.equal(false);
    }
    expect([await whoIs(browser), site.errors]).to.deep.equal([BOUND, []]);
  });
});

/** Base64url of the same bytes, in which bits that stand for nothing are set. */
function toOtherForm(text: string): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  return text.slice(0, -1) + alphabet[alphabet.indexOf(text.at(-1) as string) + 1];
}

/** A generator of numbers from 0 to 1, the same each time (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}
