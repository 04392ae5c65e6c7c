import { readFileSync } from 'node:fs';
import { bodyParser } from '@koa/bodyparser';
import Router from '@koa/router';
import { csrf, csrfField } from 'app-kit/csrf';
import { pages } from 'app-kit/page';
import Koa from 'koa';
import { type Store, session } from 'koa-wsession';
import { nameOfBrowser } from './browsers.js';
import { type Frame, renderAccount, renderDevices, renderLogin } from './pages.js';
import { Users } from './users.js';

declare module 'koa-wsession' {
  interface SessionData {
    /** Who is logged in. */
    user?: string;
    /** Seconds without a click after which this session ends. */
    idle?: number;
    /** When the session began: its absolute timeout counts from there. */
    since?: number;
  }
}

export interface Timeouts {
  /** Seconds without a click after which one is logged out. It is the store's `expire`, too. */
  readonly idle: number;
  /** The same for who ticked "remember me". */
  readonly remember: number;
  /** Seconds after which one is logged out whatever happens. */
  readonly absolute: number;
}

export const TIMEOUTS: Timeouts = { idle: 15 * 60, remember: 14 * 24 * 3600, absolute: 30 * 24 * 3600 };

const SCRIPT = readFileSync(new URL('../public/expiry.js', import.meta.url), 'utf8');

/** Accounts with a login. `place` says where the sessions are. */
export async function createLogin(store: Store, place: string, timeouts: Timeouts = TIMEOUTS): Promise<Koa> {
  const users = await Users.demo();
  const app = new Koa();
  const router = new Router();
  const sessions = session(store, {
    name: store.secure ? '__Host-login' : 'login',
    rolling: true,
    absoluteTimeout: timeouts.absolute,
  });

  /** What every page needs to know. */
  function frame(ctx: Koa.Context): Frame {
    ctx.type = 'html';
    const csrf = csrfField(ctx);
    if (ctx.session.csrf !== undefined) ctx.session.since ??= Date.now();
    const { idle = timeouts.idle, since = Date.now() } = ctx.session;
    const left = Math.floor((since - Date.now()) / 1000) + timeouts.absolute;
    const notice = ctx.session.flash('notice') as string | undefined;
    return { place, csrf, notice, user: users.find(ctx.session.user), idle, left };
  }

  router.get('/expiry.js', (ctx) => {
    ctx.type = 'js';
    ctx.body = SCRIPT;
  });

  router.get('/login', (ctx) => {
    ctx.body = renderLogin({ ...frame(ctx), hasExpired: 'expired' in ctx.query });
  });

  router.post('/login', async (ctx) => {
    const { name, password, remember } = ctx.request.body as Record<string, unknown>;
    const user = await users.check(String(name), String(password));
    if (!user) {
      ctx.status = 401;
      ctx.body = renderLogin({ ...frame(ctx), error: 'This name and this password do not belong together.' });
      return;
    }
    const idle = remember === undefined ? timeouts.idle : timeouts.remember;
    // What a visitor did before, maybe as somebody else, is not the user's.
    ctx.session = { user: user.id, idle, since: ctx.session.since ?? Date.now() };
    ctx.session.owner = user.id;
    ctx.session.label = nameOfBrowser(ctx.get('User-Agent'));
    ctx.session.expireIn(idle);
    ctx.session.flash('notice', `Welcome, ${user.name}.`);
    // A new id: whoever knew the old one, and may have planted it, knows nothing now.
    await ctx.session.regenerate();
    ctx.redirect('/');
  });

  /** All that follows is for who is logged in. */
  router.use((ctx, next) => (ctx.session.user === undefined ? ctx.redirect('/login') : next()));

  router.get('/', (ctx) => {
    ctx.body = renderAccount(frame(ctx));
  });

  router.get('/devices', async (ctx) => {
    // A store that seals keeps nothing of which a list could be made.
    const devices = store.owners && (await sessions.list(ctx.session.user as string, ctx.session));
    ctx.body = renderDevices({ ...frame(ctx), devices });
  });

  router.post('/devices/revoke', async (ctx) => {
    const { ref } = ctx.request.body as Record<string, unknown>;
    const ended = await sessions.revoke(ctx.session.user as string, { only: String(ref) });
    ctx.session.flash(
      'notice',
      ended === 1 ? 'That device is logged out.' : 'That device was logged out already.',
    );
    ctx.redirect('/devices');
  });

  router.post('/devices/revoke-others', async (ctx) => {
    const ended = await sessions.revoke(ctx.session.user as string, { except: ctx.session });
    ctx.session.flash('notice', `Logged out ${ended === 1 ? 'one other device' : `${ended} other devices`}.`);
    ctx.redirect('/devices');
  });

  /** Any request of a logged-in visitor resets the timeout (`rolling`); this one does nothing else. */
  router.post('/stay', (ctx) => {
    ctx.status = 204;
  });

  router.post('/logout', async (ctx) => {
    await ctx.session.destroy();
    ctx.session.since = Date.now();
    ctx.session.flash('notice', 'You are logged out.');
    ctx.redirect('/login');
  });

  app.use(pages());
  app.use(sessions);
  app.use(bodyParser({ enableTypes: ['form'] }));
  app.use(csrf());
  app.use(router.routes());
  return app;
}
