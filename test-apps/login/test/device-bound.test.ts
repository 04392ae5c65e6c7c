import { createHash } from 'node:crypto';
import type { RequestListener } from 'node:http';
import { itOn, SERVER_STORES } from 'app-kit/with-store';
import { expect } from 'chai';
import { type SessionOptions, type Sessions, session } from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import type { Store } from 'koa-wsession/store';
import { createLogin } from 'login';
import { restore, stub, useFakeTimers } from 'sinon';
import { BoundSite, createBoundApp, DeviceEvents, expireIn, LIFETIME, tryTheft } from 'testkit/bound-site';
import { describeWith } from 'testkit/programs';
import { TRUSTED_BROWSER, Trust, type TrustedServer } from 'testkit/trusted-browser';

type Browser = Awaited<ReturnType<Trust['launch']>>;

describeWith(TRUSTED_BROWSER, 'a device-bound session in Chromium', function () {
  this.timeout(120_000);

  let trust: Trust;
  let site: BoundSite & { readonly sessions: Sessions };
  let servers: TrustedServer[];
  let store: Store;
  let clock: ReturnType<typeof useFakeTimers>;

  before(() => {
    trust = new Trust();
  });
  after(() => trust.remove());

  beforeEach(async () => {
    // Only the server's clock moves, so that the browser, whose quota for signatures is small, is asked seldom.
    clock = useFakeTimers({ now: Date.now(), toFake: ['Date'] });
    store = new MemoryStore({ secure: true, expire: 86_400 });
    site = await BoundSite.serve(trust, store);
    servers = [site.server];
  });
  afterEach(async () => {
    await trust.closeBrowsers();
    for (const server of servers) await server.close();
    restore();
  });

  /** Until the test has ended. */
  async function serve(listener: RequestListener): Promise<TrustedServer> {
    const server = await trust.serve(listener);
    servers.push(server);
    return server;
  }

  /**
   * Time passes: the bound cookie expires, on the server and in the browser. In this order: once the browser misses the
   * cookie, it may renew it before the test asks for a page, for the page's icon.
   */
  async function expire(browser: Browser): Promise<void> {
    clock.tick(LIFETIME);
    await expireIn(browser);
  }

  it('is registered after the login', async () => {
    const browser = await trust.launch();
    await site.logIn(browser);
    const names = (await browser.cookies()).map(({ name }) => name);
    expect(names.sort()).to.deep.equal(['wsession', 'wsession_bound']);
    expect((await site.sessions.list('ada')).map(({ deviceBound }) => deviceBound)).to.deep.equal([true]);
  });

  it('goes on when the bound cookie has expired: the browser renews it before the request', async () => {
    const browser = await trust.launch();
    const { page } = await site.logIn(browser);
    await expire(browser);
    expect(await site.visit(page, '/who')).to.equal('ada bound 0');
    expect(site.requests).to.deep.equal([
      'POST /device-bound/wsession/refresh',
      'POST /device-bound/wsession/refresh',
      'GET /who',
    ]);
    // The challenge for this one came with the last.
    site.requests.length = 0;
    await expire(browser);
    expect(await site.visit(page, '/who')).to.equal('ada bound 0');
    expect(site.requests).to.deep.equal(['POST /device-bound/wsession/refresh', 'GET /who']);
  });

  it('is bound by a key for RS256 where that is all that the browser is offered', async () => {
    const OFFER = 'Secure-Session-Registration';
    const algorithms: unknown[] = [];
    site.server.server.prependListener('request', ({ headers }, response) => {
      const [header] = String(headers['secure-session-response'] ?? '').split('.');
      if (header) algorithms.push(JSON.parse(Buffer.from(header, 'base64url').toString()).alg);
      const { writeHead } = response;
      response.writeHead = ((...args: [number]) => {
        if (response.hasHeader(OFFER))
          response.setHeader(OFFER, String(response.getHeader(OFFER)).replace('ES256 RS256', 'RS256'));
        return writeHead.apply(response, args);
      }) as typeof writeHead;
    });
    const browser = await trust.launch();
    const { page } = await site.logIn(browser);
    await expire(browser);
    expect(await site.visit(page, '/who')).to.equal('ada bound 0');
    expect(algorithms).to.deep.equal(['RS256', 'RS256']);
  });

  for (const name of SERVER_STORES)
    itOn(name, 'is worthless to a thief once the bound cookie has expired, while the browser goes on', (store) =>
      tryTheft(trust, store, (milliseconds) => clock.tick(milliseconds)),
    );

  it('is shown by the login app', async () => {
    const app = await createLogin(new MemoryStore({ secure: true }), 'here');
    const server = await serve(app.callback());
    const page = await (await trust.launch()).newPage();
    const created = (await DeviceEvents.of(page)).next('creation');
    await page.goto(server.at('/login'));
    await page.getByLabel('Name').fill('ada');
    await page.getByLabel('Password').fill('analytical engine');
    await page.getByRole('button', { name: 'Log in' }).click();
    expect((await created).result).to.equal('Success');
    await page.goto(server.at('/devices'));
    await page.getByText('bound to this device').waitFor();
  });

  it('goes on in several tabs, whose requests wait for one renewal', async () => {
    const browser = await trust.launch();
    const { page } = await site.logIn(browser);
    const tabs = [page, await browser.newPage(), await browser.newPage()];
    await expire(browser);
    expect(await Promise.all(tabs.map((tab) => site.visit(tab, '/who')))).to.deep.equal(Array(3).fill('ada bound 0'));
    expect(site.refreshes).to.equal(2);
  });

  it('is there for fetch, for a form, and for a WebSocket, which wait for the renewal', async () => {
    site.server.server.on('upgrade', async (request, socket) => {
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
    const { page } = await site.logIn(browser);
    await site.visit(page, '/static');
    await expire(browser);
    expect(await page.evaluate('fetch("/who").then((response) => response.text())')).to.equal('ada bound 0');
    await expire(browser);
    await page.click('text=Change');
    await page.waitForURL(site.server.at('/who'));
    expect(await page.innerText('body')).to.equal('ada bound 1');
    await expire(browser);
    const owner = await page.evaluate(
      "new Promise((resolve) => { new WebSocket('wss://' + location.host).onmessage = ({ data }) => resolve(data); })",
    );
    expect(owner).to.equal('ada');
    expect(site.refreshes).to.equal(4);
  });

  it('gives way to another login, while the browser renews the former one', async () => {
    const browser = await trust.launch();
    const { page, events, id: former } = await site.logIn(browser);
    await site.visit(page, '/static');
    await expire(browser);
    const id = await site.submit(page, events);
    expect(id).to.not.equal(former);
    expect(site.requests.slice(1, 4)).to.deep.equal([
      'POST /device-bound/wsession/refresh',
      'POST /device-bound/wsession/refresh',
      'POST /login',
    ]);
    expect(await site.visit(page, '/who')).to.equal('ada bound 0');
    // The browser has both now, and asks first for either.
    await expire(browser);
    expect(await site.visit(page, '/who')).to.equal('ada bound 0');
  });

  for (const [how, end] of [
    ['a logout in the browser', (visit: (path: string) => Promise<unknown>) => visit('/logout')],
    ['revoke() from another device', () => site.sessions.revoke('ada')],
  ] as const)
    it(`has ended after ${how}: the next proof is answered with continue: false, and the browser drops the binding`, async () => {
      const browser = await trust.launch();
      const { page, events, id } = await site.logIn(browser);
      await end((path) => site.visit(page, path));
      expect(await site.visit(page, '/who')).to.equal('nobody unbound 0');
      const ended = events.next('termination');
      await expire(browser);
      expect(await site.visit(page, '/who')).to.equal('nobody unbound 0');
      expect(await ended).to.deep.equal({ id, result: 'ServerRequested' });
      expect(site.refreshes).to.equal(1);
      expect(await site.visit(page, '/who')).to.equal('nobody unbound 0');
      expect(site.refreshes).to.equal(1);
    });

  it('survives a restart of the browser', async () => {
    const profile = trust.newProfile();
    const browser = await trust.launch(profile);
    await site.logIn(browser);
    await expire(browser);
    await browser.close();
    const page = await (await trust.launch(profile)).newPage();
    expect(await site.visit(page, '/who')).to.equal('ada bound 0');
    expect(site.refreshes).to.be.at.least(2);
  });

  it('survives an outage of the store, in which the browser gets a 503', async () => {
    const browser = await trust.launch();
    const { page } = await site.logIn(browser);
    await expire(browser);
    const failing = stub(store, 'load').throws(new Error('down'));
    expect((await page.goto(site.server.at('/who')))?.status()).to.equal(503);
    expect((await page.goto(site.server.at('/static')))?.status()).to.equal(200);
    expect(site.requests.slice(-2)).to.deep.equal(['POST /device-bound/wsession/refresh', 'GET /static server_error']);
    failing.restore();
    expect(await site.visit(page, '/who')).to.equal('ada bound 0');
  });

  it('survives a link from another site', async () => {
    const browser = await trust.launch();
    const { page } = await site.logIn(browser);
    await page.goto(site.server.at(`/link?to=${encodeURIComponent(site.server.at('/who'))}`, 'www.elsewhere.test'));
    await expire(browser);
    await page.click('text=Go');
    await page.waitForURL(site.server.at('/who'));
    expect(await page.innerText('body')).to.equal('ada bound 0');
  });

  it('is registered also after a login that another site led to', async () => {
    const browser = await trust.launch();
    const page = await browser.newPage();
    const created = (await DeviceEvents.of(page)).next('creation');
    await page.goto(site.server.at(`/link?to=${encodeURIComponent(site.server.at('/login'))}`, 'www.elsewhere.test'));
    await page.click('text=Go');
    expect((await created).result).to.equal('Success');
    expect(await site.visit(page, '/who')).to.equal('ada bound 0');
  });

  /** A site of several processes, each with its `deviceBound`, and one store. `respond` says which of them responds next. */
  async function serveProcesses(...options: Array<SessionOptions['deviceBound'] & {}>) {
    const apps = options.map((deviceBound) => createBoundApp(session(store, { deviceBound })).callback());
    let app = apps[0] as (typeof apps)[number];
    const processes = new BoundSite(await serve((request, response) => void app(request, response)));
    const respond = (process: number): void => {
      app = apps[process] as typeof app;
    };
    return { site: processes, respond };
  }

  it('is dropped by the browser after a 404 from a process without deviceBound: the visitor stays logged in there, and is anonymous in processes with it until the next login', async () => {
    const { site, respond } = await serveProcesses(true, false);
    const browser = await trust.launch();
    const { page, events, id } = await site.logIn(browser);
    const dropped = events.next('termination');
    await expire(browser);
    respond(1);
    expect(await site.visit(page, '/who')).to.equal('ada bound 0');
    respond(0);
    expect(await site.visit(page, '/who')).to.equal('nobody unbound 0');
    respond(1);
    expect(await site.visit(page, '/who')).to.equal('ada bound 0');
    expect(site.requests).to.deep.equal(['POST /device-bound/wsession/refresh', 'GET /who', 'GET /who', 'GET /who']);
    expect(await dropped).to.deep.equal({ id, result: 'RefreshFatalError' });
    respond(0);
    await site.visit(page, '/static');
    await site.submit(page, events);
    expect(await site.visit(page, '/who')).to.equal('ada bound 0');
  });

  it('outlasts the removal of deviceBound, process by process, after a renewal with a long lifetime', async () => {
    const { site, respond } = await serveProcesses(true, { lifetime: 400 * 86_400 }, false);
    const browser = await trust.launch();
    const { page } = await site.logIn(browser);
    respond(1);
    await expire(browser);
    expect(await site.visit(page, '/who')).to.equal('ada bound 0');
    expect(site.refreshes).to.equal(2);
    for (const process of [2, 1, 2, 1, 2]) {
      respond(process);
      clock.tick(LIFETIME);
      expect(await site.visit(page, '/who')).to.equal('ada bound 0');
    }
    expect(site.refreshes).to.equal(2);
  });

  for (const status of [403, 429])
    it(`is dropped by the browser after a ${status} from something in front of the middleware`, async () => {
      const app = createBoundApp(site.sessions).callback();
      const guarded = new BoundSite(
        await serve((request, response) => {
          if (request.url === '/device-bound/wsession/refresh') response.writeHead(status).end();
          else void app(request, response);
        }),
      );
      const browser = await trust.launch();
      const { page, events, id } = await guarded.logIn(browser);
      const dropped = events.next('termination');
      await expire(browser);
      expect(await guarded.visit(page, '/who')).to.equal('nobody unbound 0');
      expect(await dropped).to.deep.equal({ id, result: 'RefreshFatalError' });
    });

  it('is a 503 once the browser’s quota for proofs is used up, and keeps its cookies', async () => {
    const browser = await trust.launch();
    const { page } = await site.logIn(browser);
    const statuses: unknown[] = [];
    while (statuses.length < 20 && statuses.at(-1) !== 503) {
      await expire(browser);
      statuses.push((await page.goto(site.server.at('/who')))?.status());
    }
    expect(statuses.slice(0, 4)).to.deep.equal([200, 200, 200, 200]);
    expect(statuses.at(-1)).to.equal(503);
    expect(site.requests.at(-1)).to.equal('GET /who quota_exceeded');
    expect((await page.goto(site.server.at('/static')))?.status()).to.equal(200);
    expect((await browser.cookies()).map(({ name }) => name)).to.deep.equal(['wsession']);
  });
});
