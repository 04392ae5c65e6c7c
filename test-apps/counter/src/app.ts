import Router from '@koa/router';
import Koa from 'koa';
import { type Store, session } from 'koa-wsession';
import { renderPage } from './page.js';

declare module 'koa-wsession' {
  interface SessionData {
    counter?: number;
  }
}

/** It counts a visitor's visits. `place` says where the sessions are. */
export function createApp(store: Store, place: string): Koa {
  const app = new Koa();
  const router = new Router();

  router.get('/', (ctx) => {
    ctx.session.counter = (ctx.session.counter ?? 0) + 1;
    ctx.type = 'html';
    ctx.body = renderPage(ctx.session.counter, place, ctx.session.flash('notice'));
  });

  router.post('/logout', async (ctx) => {
    await ctx.session.destroy();
    ctx.redirect('/');
  });

  router.post('/regenerate', async (ctx) => {
    await ctx.session.regenerate();
    ctx.session.flash('notice', 'The session has a new id, and the same data.');
    ctx.redirect('/');
  });

  app.use(session(store));
  app.use(router.routes());
  return app;
}
