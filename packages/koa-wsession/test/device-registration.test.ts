import crypto from 'node:crypto';
import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { session } from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import type { SessionRecord } from 'koa-wsession/store';
import { stub } from 'sinon';
import { type Algorithm, DeviceBrowser, signJwt } from './device-browser.js';
import { BOUND, beforeNextUpdate, handlers, LOGIN, MINUTE, start, startClock, UNBOUND, whoIs } from './device-site.js';
import { createSite, type Handler, tidy } from './helpers.js';

const boundLine = (lines: readonly string[]): string | undefined => lines.find((line) => /^\w+_bound=/.test(line));

describe('the registration of a device', () => {
  afterEach(tidy);

  for (const algorithm of ['ES256', 'RS256'] satisfies Algorithm[])
    it(`binds the session to a key for ${algorithm}`, async () => {
      const { site } = await start();
      const browser = new DeviceBrowser(site, algorithm);
      await browser.get('/login');
      const reply = await browser.register();
      expect([reply.status, reply.headers['cache-control']]).to.deep.equal([200, 'no-store']);
      expect(reply.json()).to.deep.equal({
        session_identifier: browser.id,
        refresh_url: '/device-bound/wsession/refresh',
        scope: { origin: 'https://shop.test', include_site: false },
        credentials: [{ type: 'cookie', name: 'wsession_bound', attributes: 'Path=/; Secure; HttpOnly; SameSite=Lax' }],
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
    expect(browser.offer).to.include('path="/app/device-bound/wsession/register"');
    const { setCookie } = await browser.register();
    expect(setCookie[0]).to.include('; Path=/app;');
    expect((await browser.get('/app/who')).json()).to.deep.equal(BOUND);
  });

  it('has a path for each name, so that sessions of several names can be bound on one host', async () => {
    const store = new MemoryStore();
    const before = ['a', 'c'].map((name) => session(store, { name, deviceBound: true }));
    const site = await createSite(handlers, { store, before, name: 'b', deviceBound: true });
    const browser = await new DeviceBrowser(site).bind();
    expect(browser.offer).to.include('path="/device-bound/b/register"');
    expect(await whoIs(browser)).to.deep.equal(BOUND);
    await browser.ask();
    expect((await browser.prove()).status).to.equal(200);
  });

  it('takes any name into the path', async () => {
    const { browser } = await start({ name: "!#$%&'*+-.^_`|~" });
    await browser.bind();
    expect(await whoIs(browser)).to.deep.equal(BOUND);
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
    const reply = await browser.request('POST', '/device-bound/wsession/register', {
      headers: { cookie, 'secure-session-response': browser.registration() },
    });
    expect(reply.status).to.equal(200);
    expect(await whoIs(browser)).to.deep.equal(BOUND);
  });

  it('is answered also where the session gets that id at the same moment', async () => {
    const store = new MemoryStore();
    const { browser } = await start({ store });
    await browser.get('/login');
    beforeNextUpdate(store, () => browser.get('/regenerate'));
    expect((await browser.register()).status).to.equal(200);
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

  it('stores nothing of the proof but the public key', async () => {
    const store = new MemoryStore();
    const { site, browser } = await start({ store });
    await browser.get('/login');
    const { d, ...jwk } = browser.keys.privateKey.export({ format: 'jwk' });
    const header = { alg: 'ES256', jwk: { ...jwk, d, use: 'sig' }, typ: 'dbsc+jwt' };
    const jwt = signJwt(header, { jti: browser.offered }, browser.keys.privateKey);
    expect((await browser.register(jwt)).status).to.equal(200);
    const [{ ref } = { ref: '' }] = await site.sessions.list('ada');
    const { entries } = store.load(ref) as SessionRecord;
    expect(JSON.parse(entries.get('\0device') ?? '').key).to.deep.equal(jwk);
  });

  for (const algorithm of ['ES256', 'RS256'] satisfies Algorithm[])
    it(`takes the JWTs that Chromium made for ${algorithm}`, async () => {
      const file = new URL('../test/fixtures/chromium-proofs.json', import.meta.url);
      const { registration, proof, at, secret } = JSON.parse(readFileSync(file, 'utf8'))[algorithm];
      startClock(at);
      const { browser } = await start();
      const { jti } = JSON.parse(Buffer.from(registration.split('.')[1], 'base64url').toString());
      const random = stub(crypto, 'randomBytes');
      random.returns(Buffer.from(jti, 'base64url') as never); // the login's challenge
      await browser.get('/login');
      random.returns(Buffer.from(secret, 'base64url') as never); // of the session, which signs the next ones
      expect((await browser.register(proof)).status).to.equal(403);
      expect((await browser.register(registration)).status).to.equal(200);
      expect((await browser.prove(registration)).status).to.equal(403);
      expect((await browser.prove(proof)).status).to.equal(200);
    });

  it('isn’t there for other methods, other paths, and over plain http', async () => {
    const { browser } = await start();
    await browser.bind();
    for (const [method, path] of [
      ['GET', '/device-bound/wsession/register'],
      ['GET', '/device-bound/wsession/refresh'],
      ['POST', '/device-bound/wsession/refresh/'],
      ['POST', '/device-bound'],
    ] as const)
      expect((await browser.request(method, path)).status).to.equal(404);
    const plain = { headers: { 'x-forwarded-proto': 'http' } };
    expect((await browser.request('POST', '/device-bound/wsession/refresh', plain)).status).to.equal(404);
  });

  it('comes before middleware that would refuse or read the request', async () => {
    const { site, browser } = await start();
    site.app.use((ctx) => ctx.throw(418));
    await browser.bind();
    expect(browser.id).to.match(/^[\w-]{43}$/);
  });
});
