import Koa from 'koa';
import { session } from 'koa-wsession';
import type { Store } from 'koa-wsession/store';

declare module 'koa-wsession' {
  interface SessionData {
    counter?: number;
    [key: `own-${number}`]: true;
  }
}

/** Every path responds with the session's content. */
export function createApp(store: Store): Koa {
  const app = new Koa();
  app.silent = true; // the visitors count errors
  const sessions = session(store);
  app.use(sessions);
  app.use(async (ctx) => {
    const [, action, value = ''] = ctx.path.split('/');
    if (action === 'login') await sessions.of(ctx).logIn(value);
    if (action === 'count') await sessions.of(ctx).update('counter', (counter = 0) => counter + 1);
    if (action === 'keep') ctx.session[`own-${Number(value)}`] = true;
    ctx.body = { ...ctx.session, user: sessions.of(ctx).owner };
  });
  return app;
}
