import { once } from 'node:events';
import { expect } from 'chai';
import { MemoryStore } from 'koa-wsession/memory';
import { DeviceBrowser } from './device-browser.js';
import { ANONYMOUS, BOUND, LOGIN, MINUTE, start, startClock, UNBOUND, whoIs } from './device-site.js';
import { listenTo, stopListening } from './events-heard.js';
import { tidy } from './helpers.js';

describe('a request with the cookies of a device-bound session', () => {
  afterEach(stopListening);
  afterEach(tidy);

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

  it('is an anonymous visitor’s without a valid bound cookie also where the clock was ahead, and was set back', async () => {
    const clock = startClock(LOGIN + 1440 * MINUTE);
    const { browser } = await start();
    await browser.bind();
    const [alone, both] = [browser.stolen(), browser.stolen()];
    alone.loseBoundCookie();
    clock.setSystemTime(LOGIN);
    expect(await whoIs(alone), 'the session cookie alone').to.deep.equal(ANONYMOUS);
    expect(await whoIs(both), 'with the bound cookie of the wrong clock').to.deep.equal(ANONYMOUS);
    await browser.ask();
    expect((await browser.prove()).status).to.equal(200);
    expect(await whoIs(browser)).to.deep.equal(BOUND);
  });

  it('counts with a bound cookie of a process whose clock is some seconds ahead', async () => {
    const clock = startClock(LOGIN + 40_000);
    const { browser } = await start();
    await browser.bind();
    clock.setSystemTime(LOGIN);
    expect(await whoIs(browser)).to.deep.equal(BOUND);
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
    for (const path of ['/', '/device-bound/wsession/refresh']) await visit(path);
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
