import { createHash } from 'node:crypto';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { itOn, SERVER_STORES } from 'app-kit/with-store';
import { expect } from 'chai';
import Koa from 'koa';
import { type Sessions, session } from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import type { Store } from 'koa-wsession/store';
import { createLogin } from 'login';
import { restore, stub, useFakeTimers } from 'sinon';
import { describeWith } from 'testkit/programs';
import { TRUSTED_BROWSER, Trust, type TrustedServer } from 'testkit/trusted-browser';

declare module 'koa-wsession' {
  interface SessionData {
    n?: number;
  }
}

const LOGIN_FORM = '<form method="post" action="/login"><button>Log in</button></form>';
const CHANGE_FORM = '<form method="post" action="/change"><button>Change</button></form>';
const MINUTE = 60_000;

interface Site extends TrustedServer {
  readonly sessions: Sessions;
  readonly store: Store;
  /** The requests that came, each as its method, its path, and what Secure-Session-Skipped said. */
  readonly requests: string[];
}

/** The promise of the next event of this name. */
function nextEvent(name: string): Promise<void> {
  return new Promise((resolve) => {
    const listener = (): void => {
      unsubscribe(`koa-wsession:${name}`, listener);
      resolve();
    };
    subscribe(`koa-wsession:${name}`, listener);
  });
}

function createApp(sessions: Sessions, requests: string[]): Koa {
  const app = new Koa();
  app.silent = true;
  app.use((ctx, next) => {
    const skipped = ctx.get('Secure-Session-Skipped').replace(/;.*/, '');
    if (ctx.path !== '/favicon.ico') requests.push(`${ctx.method} ${ctx.path}${skipped && ` ${skipped}`}`);
    return next();
  });
  app.use(sessions);
  app.use(async (ctx) => {
    ctx.type = 'html';
    if (ctx.path === '/static') ctx.body = LOGIN_FORM + CHANGE_FORM;
    else if (ctx.path === '/link') ctx.body = `<a href="${ctx.query.to}">Go</a>`;
    else if (ctx.path === '/login') {
      await sessions.of(ctx).logIn('ada');
      ctx.redirect('/who');
    } else if (ctx.path === '/change') {
      ctx.session.n = (ctx.session.n ?? 0) + 1;
      ctx.redirect('/who');
    } else if (ctx.path === '/logout') {
      await sessions.of(ctx).logOut();
      ctx.body = 'bye';
    } else if (ctx.path === '/who') {
      const { owner = 'nobody', deviceBound } = sessions.of(ctx);
      ctx.body = `${owner} ${deviceBound ? 'bound' : 'unbound'} ${ctx.session.n ?? 0}`;
    } else ctx.status = 404;
  });
  return app;
}

describeWith(TRUSTED_BROWSER, 'a device-bound session in Chromium', function () {
  this.timeout(60_000);

  let trust: Trust;
  let site: Site;
  let clock: ReturnType<typeof useFakeTimers>;

  before(() => {
    trust = new Trust();
  });
  after(() => trust.remove());

  beforeEach(async () => {
    // Only the server's clock moves, so that the browser, whose quota for signatures is small, is asked seldom.
    clock = useFakeTimers({ now: Date.now(), toFake: ['Date'] });
    site = await start();
  });
  afterEach(async () => {
    await trust.closeBrowsers();
    await site.close();
    restore();
  });

  async function start(store: Store = new MemoryStore({ secure: true })): Promise<Site> {
    const sessions = session(store, { deviceBound: true });
    const requests: string[] = [];
    return { ...(await trust.serve(createApp(sessions, requests).callback())), sessions, store, requests };
  }

  type Browser = Awaited<ReturnType<Trust['launch']>>;
  type Page = Awaited<ReturnType<Browser['newPage']>>;

  async function visit(page: Page, path: string): Promise<string> {
    await page.goto(site.at(path));
    return page.innerText('body');
  }

  /** Logs in by the form, and waits until the browser has registered its key. */
  async function logIn(browser: Browser): Promise<Page> {
    const page = await browser.newPage();
    await page.goto(site.at('/static'));
    const bound = nextEvent('bound');
    await page.click('text=Log in');
    await bound;
    expect(await visit(page, '/who')).to.match(/^ada bound/);
    site.requests.length = 0;
    return page;
  }

  /** Time passes: the bound cookie expires, in the browser and on the server. */
  async function expire(browser: Browser): Promise<void> {
    await browser.clearCookies({ name: 'wsession_bound' });
    clock.tick(10 * MINUTE);
  }

  async function cookiesOf(browser: Browser): Promise<string> {
    return (await browser.cookies()).map(({ name, value }) => `${name}=${value}`).join('; ');
  }

  const refreshes = () => site.requests.filter((request) => request === 'POST /device-bound/refresh').length;

  it('is registered after the login', async () => {
    const browser = await trust.launch();
    await logIn(browser);
    const names = (await browser.cookies()).map(({ name }) => name);
    expect(names.sort()).to.deep.equal(['wsession', 'wsession_bound']);
    expect((await site.sessions.list('ada')).map(({ deviceBound }) => deviceBound)).to.deep.equal([true]);
  });

  it('goes on when the bound cookie has expired: the browser renews it before the request', async () => {
    const browser = await trust.launch();
    const page = await logIn(browser);
    await expire(browser);
    expect(await visit(page, '/who')).to.equal('ada bound 0');
    expect(site.requests).to.deep.equal(['POST /device-bound/refresh', 'POST /device-bound/refresh', 'GET /who']);
    // The challenge for this one came with the last.
    site.requests.length = 0;
    await expire(browser);
    expect(await visit(page, '/who')).to.equal('ada bound 0');
    expect(site.requests).to.deep.equal(['POST /device-bound/refresh', 'GET /who']);
  });

  for (const name of SERVER_STORES)
    itOn(
      name,
      'is worthless to a thief once the bound cookie has expired, while the browser goes on',
      async (store) => {
        await site.close();
        site = await start(store);
        const browser = await trust.launch();
        const page = await logIn(browser);
        const cookie = await cookiesOf(browser);
        const asThief = async (): Promise<string> => (await site.fetch('/who', { cookie })).body;
        clock.tick(9 * MINUTE);
        expect(await asThief()).to.equal('ada bound 0');
        await expire(browser);
        expect(await asThief()).to.equal('nobody unbound 0');
        expect(await visit(page, '/who')).to.equal('ada bound 0');
        expect(await asThief()).to.equal('nobody unbound 0');
        expect(await visit(page, '/who')).to.equal('ada bound 0');
      },
    );

  it('is shown by the login app', async () => {
    await site.close();
    const app = await createLogin(new MemoryStore({ secure: true }), 'here');
    site = { ...site, ...(await trust.serve(app.callback())) };
    const page = await (await trust.launch()).newPage();
    await page.goto(site.at('/login'));
    await page.getByLabel('Name').fill('ada');
    await page.getByLabel('Password').fill('analytical engine');
    const bound = nextEvent('bound');
    await page.getByRole('button', { name: 'Log in' }).click();
    await bound;
    await page.goto(site.at('/devices'));
    await page.getByText('bound to this device').waitFor();
  });

  it('goes on in several tabs, whose requests wait for one renewal', async () => {
    const browser = await trust.launch();
    const page = await logIn(browser);
    const tabs = [page, await browser.newPage(), await browser.newPage()];
    await expire(browser);
    expect(await Promise.all(tabs.map((tab) => visit(tab, '/who')))).to.deep.equal(Array(3).fill('ada bound 0'));
    expect(refreshes()).to.equal(2);
  });

  it('is there for fetch, for a form, and for a WebSocket, which wait for the renewal', async () => {
    site.server.on('upgrade', async (request, socket) => {
      const { owner = 'nobody' } = site.sessions.of(await site.sessions.open(request));
      const accept = createHash('sha1')
        .update(`${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
        .digest('base64');
      socket.write(
        `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
      );
      socket.write(Buffer.concat([Buffer.from([0x81, owner.length]), Buffer.from(owner)]));
      socket.on('error', () => undefined);
    });
    const browser = await trust.launch();
    const page = await logIn(browser);
    await visit(page, '/static');
    await expire(browser);
    expect(await page.evaluate('fetch("/who").then((response) => response.text())')).to.equal('ada bound 0');
    await expire(browser);
    await page.click('text=Change');
    expect(await page.innerText('body')).to.equal('ada bound 1');
    await expire(browser);
    const owner = await page.evaluate(
      "new Promise((resolve) => { new WebSocket('wss://' + location.host).onmessage = ({ data }) => resolve(data); })",
    );
    expect(owner).to.equal('ada');
  });

  it('gives way to another login, while the browser renews the former one', async () => {
    const browser = await trust.launch();
    const page = await logIn(browser);
    await visit(page, '/static');
    await expire(browser);
    const bound = nextEvent('bound');
    await page.click('text=Log in');
    await bound;
    expect(await visit(page, '/who')).to.equal('ada bound 0');
    await expire(browser);
    expect(await visit(page, '/who')).to.equal('ada bound 0');
  });

  for (const [how, end] of [
    ['logout', (page: Page) => visit(page, '/logout')],
    ['revoke() elsewhere', () => site.sessions.revoke('ada')],
  ] as const)
    it(`has ended for the browser, too, after ${how}`, async () => {
      const browser = await trust.launch();
      const page = await logIn(browser);
      await end(page);
      expect(await visit(page, '/who')).to.equal('nobody unbound 0');
      await expire(browser);
      expect(await visit(page, '/who')).to.equal('nobody unbound 0');
      const before = refreshes();
      expect(await visit(page, '/who')).to.equal('nobody unbound 0');
      expect(refreshes()).to.equal(before);
    });

  it('survives a restart of the browser', async () => {
    const profile = trust.newProfile();
    const browser = await trust.launch(profile);
    await logIn(browser);
    await expire(browser);
    await browser.close();
    const page = await (await trust.launch(profile)).newPage();
    expect(await visit(page, '/who')).to.equal('ada bound 0');
    expect(refreshes()).to.equal(2);
  });

  it('survives an outage of the store, in which the browser gets a 503', async () => {
    const browser = await trust.launch();
    const page = await logIn(browser);
    await expire(browser);
    const failing = stub(site.store, 'load').throws(new Error('down'));
    expect((await page.goto(site.at('/who')))?.status()).to.equal(503);
    failing.restore();
    await page.goto(site.at('/who'));
    expect(await visit(page, '/who')).to.equal('ada bound 0');
  });

  it('survives a link from another site', async () => {
    const browser = await trust.launch();
    const page = await logIn(browser);
    await page.goto(site.at(`/link?to=${encodeURIComponent(site.at('/who'))}`, 'www.elsewhere.test'));
    await expire(browser);
    await page.click('text=Go');
    await page.waitForURL(site.at('/who'));
    expect(await page.innerText('body')).to.equal('ada bound 0');
  });

  it('is registered also after a login that another site led to', async () => {
    const browser = await trust.launch();
    const page = await browser.newPage();
    await page.goto(site.at(`/link?to=${encodeURIComponent(site.at('/login'))}`, 'www.elsewhere.test'));
    const bound = nextEvent('bound');
    await page.click('text=Go');
    await bound;
    expect(await visit(page, '/who')).to.equal('ada bound 0');
  });

  it('is a 503 once the browser’s quota for proofs is used up', async () => {
    await site.close();
    site = await start(new MemoryStore({ secure: true, expire: 86_400 }));
    const browser = await trust.launch();
    const page = await logIn(browser);
    const statuses: unknown[] = [];
    for (let i = 0; i < 8; i++) {
      await expire(browser);
      statuses.push((await page.goto(site.at('/who')))?.status());
    }
    expect(statuses.slice(0, 4)).to.deep.equal([200, 200, 200, 200]);
    expect(statuses.at(-1)).to.equal(503);
    expect(site.requests).to.include('GET /who quota_exceeded');
    expect((await page.goto(site.at('/static')))?.status()).to.equal(200);
  });
});
