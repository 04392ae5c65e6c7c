import { readFileSync } from 'node:fs';
import { bodyParser } from '@koa/bodyparser';
import Router from '@koa/router';
import { csrf, csrfField } from 'app-kit/csrf';
import { pages } from 'app-kit/page';
import Koa from 'koa';
import { type Sessions, session } from 'koa-wsession';
import type { Store } from 'koa-wsession/store';
import { nameOfBrowser } from './browsers.js';
import { type Frame, renderAccount, renderDevices, renderLogin } from './pages.js';
import { Users } from './users.js';

export interface Timeouts {
  /** Seconds without a click until the visitor is logged out. It is the store's `expire`, too. */
  readonly idle: number;
  /** The same after a login with "remember me". */
  readonly remember: number;
  /** Seconds until the visitor is logged out in any case. */
  readonly absolute: number;
}

export const TIMEOUTS: Timeouts = { idle: 15 * 60, remember: 14 * 24 * 3600, absolute: 30 * 24 * 3600 };

const SCRIPT = readFileSync(new URL('../public/expiry.js', import.meta.url), 'utf8');

/** Accounts with a login. `place` says where the sessions are. */
export async function createLogin(store: Store, place: string): Promise<Koa> {
  const app = new Koa({ proxy: store.secure }); // a proxy ends TLS
  const users = await Users.demo();
  const sessions = session(store, {
    name: store.secure ? '__Host-login' : 'login',
    rolling: true,
    absoluteTimeout: TIMEOUTS.absolute,
    deviceBound: store.index !== undefined, // the cookie store keeps nothing on the server to bind
  });
  const frame = (ctx: Koa.Context) => createFrame(ctx, sessions, users, place);
  const router = new Router();
  addLogin(router, sessions, users, frame);
  addAccount(router, sessions, frame, store.index !== undefined);

  app.use(pages());
  app.use(sessions);
  app.use(bodyParser({ enableTypes: ['form'] }));
  app.use(csrf());
  app.use(router.routes());
  return app;
}

/** What every page needs to know. */
async function createFrame(ctx: Koa.Context, sessions: Sessions, users: Users, place: string): Promise<Frame> {
  const { owner, createdAt = new Date() } = sessions.of(ctx);
  const { maxAge } = ctx.session;
  ctx.type = 'html';
  return {
    place,
    csrf: csrfField(ctx),
    notices: await sessions.of(ctx).takeFlash('notice'),
    user: users.find(owner),
    idle: typeof maxAge === 'number' ? maxAge / 1000 : TIMEOUTS.idle,
    left: Math.floor((createdAt.getTime() - Date.now()) / 1000) + TIMEOUTS.absolute,
  };
}

type CreateFrame = (ctx: Koa.Context) => Promise<Frame>;

/** The pages for everyone. */
function addLogin(router: Router, sessions: Sessions, users: Users, frame: CreateFrame): void {
  router.get('/expiry.js', (ctx) => {
    ctx.type = 'js';
    ctx.body = SCRIPT;
  });

  router.get('/login', async (ctx) => {
    ctx.body = renderLogin({ ...(await frame(ctx)), hasExpired: 'expired' in ctx.query });
  });

  router.post('/login', async (ctx) => {
    const { name = '', password = '', remember } = ctx.request.body as Record<string, unknown>;
    const user = await users.check(String(name), String(password));
    if (!user) {
      ctx.status = 401;
      ctx.body = renderLogin({ ...(await frame(ctx)), name: String(name), error: 'Wrong name or password.' });
      return;
    }
    const current = sessions.of(ctx);
    current.flash('notice', `Welcome, ${user.name}.`);
    await current.logIn(user.id, {
      label: nameOfBrowser(ctx.get('User-Agent')),
      maxAge: (remember === undefined ? TIMEOUTS.idle : TIMEOUTS.remember) * 1000,
      keep: [], // what an anonymous visitor did is not the user's
    });
    ctx.redirect('/');
  });

  router.post('/logout', async (ctx) => {
    await sessions.of(ctx).logOut();
    sessions.of(ctx).flash('notice', 'You are logged out.');
    ctx.redirect('/login');
  });
}

/** The pages for logged-in visitors. */
function addAccount(router: Router, sessions: Sessions, frame: CreateFrame, hasList: boolean): void {
  const ownerOf = (ctx: Koa.Context) => sessions.of(ctx).owner as string;
  router.use((ctx, next) => (ownerOf(ctx) === undefined ? ctx.redirect('/login') : next()));

  router.get('/', async (ctx) => {
    ctx.body = renderAccount(await frame(ctx));
  });

  router.get('/devices', async (ctx) => {
    const devices = hasList ? await sessions.list(ownerOf(ctx), ctx) : undefined;
    ctx.body = renderDevices({ ...(await frame(ctx)), devices });
  });

  router.post('/devices/revoke', async (ctx) => {
    const { ref } = ctx.request.body as Record<string, unknown>;
    const ended = await sessions.revoke(ownerOf(ctx), { only: String(ref) });
    sessions
      .of(ctx)
      .flash('notice', ended === 1 ? 'That device is logged out.' : 'That device was already logged out.');
    ctx.redirect('/devices');
  });

  router.post('/devices/revoke-others', async (ctx) => {
    const ended = await sessions.revoke(ownerOf(ctx), { except: ctx });
    const devices = ended === 1 ? 'one other device' : `${ended} other devices`;
    sessions.of(ctx).flash('notice', `Logged out ${devices}.`);
    ctx.redirect('/devices');
  });

  /** Every request of a logged-in visitor resets the timeout (`rolling`); this one does nothing else. */
  router.post('/stay', (ctx) => {
    ctx.status = 204;
  });
}
