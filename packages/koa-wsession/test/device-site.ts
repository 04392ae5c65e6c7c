import type { Store } from 'koa-wsession/store';
import { stub, useFakeTimers } from 'sinon';
import { DeviceBrowser } from './device-browser.js';
import { createSite, type Handler, type Site, type SiteOptions } from './helpers.js';

/* A site with device-bound sessions, and what its pages say. */

export const LOGIN = 1_000_000_000_000;
export const MINUTE = 60_000;

export const handlers: Record<string, Handler> = {
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

interface Who {
  readonly owner: string | null;
  readonly deviceBound: boolean;
}

export const BOUND: Who = { owner: 'ada', deviceBound: true };
export const UNBOUND: Who = { owner: 'ada', deviceBound: false };
export const ANONYMOUS: Who = { owner: null, deviceBound: false };

export function startClock(now: number = LOGIN): ReturnType<typeof useFakeTimers> {
  return useFakeTimers({ now, toFake: ['Date'] });
}

export async function start(options: SiteOptions = {}): Promise<{ site: Site; browser: DeviceBrowser }> {
  const site = await createSite(handlers, { deviceBound: true, ...options });
  return { site, browser: new DeviceBrowser(site) };
}

export async function whoIs(browser: DeviceBrowser, headers: Record<string, string> = {}): Promise<unknown> {
  return (await browser.get('/who', headers)).json();
}

/** Has the store do something just before the next update, as another request may. */
export function beforeNextUpdate(store: Store, happens: () => Promise<unknown>): void {
  const update = stub(store, 'update').callsFake(async (...args) => {
    update.restore();
    await happens();
    return store.update(...args);
  });
}
