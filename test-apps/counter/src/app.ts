import Router from '@koa/router';
import Koa from 'koa';
import { session } from 'koa-wsession';
import type { Store } from 'koa-wsession/store';
import { ICON, renderPage } from './page.js';

declare module 'koa-wsession' {
  interface SessionData {
    counter?: number;
  }
  interface FlashMessages {
    notice: string;
  }
}

/** Counts a visitor's visits. `place` says where the sessions are. */
export function createApp(store: Store, place: string): Koa {
  const app = new Koa({ proxy: store.secure }); // a proxy ends TLS
  const router = new Router();
  const sessions = session(store);

  router.get('/', async (ctx) => {
    ctx.session.counter = (ctx.session.counter ?? 0) + 1;
    const notices = await sessions.of(ctx).takeFlash('notice');
    ctx.type = 'html';
    ctx.body = renderPage(ctx.session.counter, place, notices);
  });

  // Browsers ask for it with every page, so it must not count.
  router.get('/favicon.ico', (ctx) => {
    ctx.type = 'svg';
    ctx.body = ICON;
  });

  router.post('/logout', async (ctx) => {
    await sessions.of(ctx).logOut();
    ctx.redirect('/');
  });

  router.post('/regenerate', async (ctx) => {
    await ctx.session.regenerate();
    sessions.of(ctx).flash('notice', 'The session has a new id, and the same data.');
    ctx.redirect('/');
  });

  app.use(sessions);
  app.use(router.routes());
  return app;
}
