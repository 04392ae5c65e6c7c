import Koa from 'koa';
import { type Store, session } from 'koa-wsession';

declare module 'koa-wsession' {
  interface SessionData {
    user?: string;
    counter?: number;
    [key: `own-${number}`]: true;
  }
}

/** Every path answers what the session then is. */
export function createApp(store: Store): Koa {
  const app = new Koa();
  app.silent = true; // an outage of Redis is counted by who sees it
  app.use(session(store));
  app.use(async (ctx) => {
    const [, action, value = ''] = ctx.path.split('/');
    if (action === 'login') ctx.session.user = value;
    if (action === 'count') await ctx.session.update('counter', (counter = 0) => counter + 1);
    if (action === 'keep') ctx.session[`own-${Number(value)}`] = true;
    ctx.body = { ...ctx.session };
  });
  return app;
}
