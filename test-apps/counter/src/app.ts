import Router from '@koa/router';
import { pages } from 'app-kit/page';
import Koa from 'koa';
import { session } from 'koa-wsession';
import type { Store } from 'koa-wsession/store';
import { renderCounter } from './page.js';

declare module 'koa-wsession' {
  interface SessionData {
    counter?: number;
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
    ctx.body = renderCounter(ctx.session.counter, place, notices);
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

  app.use(pages()); // before the session: browsers also ask for a style sheet and an icon, which must not count
  app.use(sessions);
  app.use(router.routes());
  return app;
}
