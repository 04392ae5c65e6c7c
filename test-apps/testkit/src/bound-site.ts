import { expect } from 'chai';
import Koa from 'koa';
import { type Sessions, session } from 'koa-wsession';
import type { Store } from 'koa-wsession/store';
import type { BrowserContext, CDPSession, Page } from 'playwright-core';
import type { Trust, TrustedServer } from './trusted-browser.js';

/* A site whose sessions are bound to devices, and what a browser does there. */

declare module 'koa-wsession' {
  interface SessionData {
    n?: number;
  }
}

const LOGIN_FORM = '<form method="post" action="/login"><button>Log in</button></form>';
const CHANGE_FORM = '<form method="post" action="/change"><button>Change</button></form>';

/** Milliseconds for which a bound cookie is valid. */
export const LIFETIME = 600_000;

/** An app with a page for each thing that one does to a session. It takes part in TLS, or is behind a proxy that does. */
export function createBoundApp(sessions: Sessions): Koa {
  const app = new Koa({ proxy: true });
  app.silent = true;
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

/** What Chromium says about device-bound sessions. */
export class DeviceEvents {
  readonly #cdp: CDPSession;

  private constructor(cdp: CDPSession) {
    this.#cdp = cdp;
  }

  static async of(page: Page): Promise<DeviceEvents> {
    const cdp = await page.context().newCDPSession(page);
    await cdp.send('Network.enable');
    await cdp.send('Network.enableDeviceBoundSessions', { enable: true });
    return new DeviceEvents(cdp);
  }

  /** The next event of this kind: the identifier of the browser's session, and how it went. */
  next(kind: 'creation' | 'refresh' | 'termination'): Promise<{ id: string | undefined; result: string | undefined }> {
    return new Promise((resolve) => {
      const listener = (event: DeviceEvent): void => {
        const { creationEventDetails: created, refreshEventDetails, terminationEventDetails: ended, sessionId } = event;
        const happened = { creation: created, refresh: refreshEventDetails, termination: ended }[kind];
        if (!happened) return;
        this.#cdp.off('Network.deviceBoundSessionEventOccurred', listener);
        const result = created?.fetchResult ?? refreshEventDetails?.refreshResult ?? ended?.deletionReason;
        resolve({ id: sessionId, result });
      };
      this.#cdp.on('Network.deviceBoundSessionEventOccurred', listener);
    });
  }
}

interface DeviceEvent {
  readonly sessionId?: string;
  readonly creationEventDetails?: { readonly fetchResult: string };
  readonly refreshEventDetails?: { readonly refreshResult: string };
  readonly terminationEventDetails?: { readonly deletionReason: string };
}

/** A site that a browser visits. */
export class BoundSite {
  readonly server: TrustedServer;
  /** The requests that came, each as its method, its path, and what Secure-Session-Skipped said. */
  readonly requests: string[] = [];

  constructor(server: TrustedServer) {
    this.server = server;
    server.server.prependListener('request', ({ method, url, headers }) => {
      const skipped = String(headers['secure-session-skipped'] ?? '').replace(/;.*/, '');
      if (url !== '/favicon.ico') this.requests.push(`${method} ${url}${skipped && ` ${skipped}`}`);
    });
  }

  static async serve(trust: Trust, store: Store): Promise<BoundSite & { readonly sessions: Sessions }> {
    const sessions = session(store, { deviceBound: true });
    return Object.assign(new BoundSite(await trust.serve(createBoundApp(sessions).callback())), { sessions });
  }

  /** What the body of a page says. */
  async visit(page: Page, path: string): Promise<string> {
    await page.goto(this.server.at(path));
    return page.innerText('body');
  }

  /** Logs in by the form, and waits until the browser has registered its key. */
  async logIn(browser: BrowserContext): Promise<{ page: Page; events: DeviceEvents; id: string | undefined }> {
    const page = await browser.newPage();
    const events = await DeviceEvents.of(page);
    await page.goto(this.server.at('/static'));
    const id = await this.submit(page, events);
    expect(await this.visit(page, '/who')).to.equal('ada bound 0');
    this.requests.length = 0;
    return { page, events, id };
  }

  /** Submits the login form. Returns the browser's name of the new session. */
  async submit(page: Page, events: DeviceEvents): Promise<string | undefined> {
    const created = events.next('creation');
    await page.click('text=Log in');
    const { id, result } = await created;
    expect(result).to.equal('Success');
    return id;
  }

  /** How many requests the browser sent to renew the bound cookie. */
  get refreshes(): number {
    return this.requests.filter((request) => request === 'POST /device-bound/wsession/refresh').length;
  }
}

/** The bound cookie expires: the browser's own clock can't be moved. */
export function expireIn(browser: BrowserContext): Promise<void> {
  return browser.clearCookies({ name: 'wsession_bound' });
}

/**
 * Copies all cookies out of the browser: with them, another client has the session until the bound cookie expires, and
 * is an anonymous visitor from then on, while the browser goes on. `tick` moves the server's clock.
 */
export async function tryTheft(trust: Trust, store: Store, tick: (milliseconds: number) => unknown): Promise<void> {
  const site = await BoundSite.serve(trust, store);
  try {
    const browser = await trust.launch();
    const { page } = await site.logIn(browser);
    const cookie = (await browser.cookies()).map(({ name, value }) => `${name}=${value}`).join('; ');
    const asThief = async (): Promise<string> => (await site.server.fetch('/who', { cookie })).body;
    tick(LIFETIME - 1000);
    expect(await asThief()).to.equal('ada bound 0');
    tick(1000);
    expect(await asThief()).to.equal('nobody unbound 0');
    await expireIn(browser);
    expect(await site.visit(page, '/who')).to.equal('ada bound 0');
    expect(await asThief()).to.equal('nobody unbound 0');
    expect(await site.visit(page, '/who')).to.equal('ada bound 0');
  } finally {
    await trust.closeBrowsers();
    await site.server.close();
  }
}
