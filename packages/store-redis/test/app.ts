import Koa from 'koa';
import { session } from 'koa-wsession';
import type { Store } from 'koa-wsession/store';

declare module 'koa-wsession' {
  interface SessionData {
    counter?: number;
  }
}

/** An app with a path for each thing that an app does to a session. It responds with the counter. */
export function counterApp(store: Store, timeout = 5000): Koa {
  const app = new Koa();
  app.silent = true;
  const sessions = session(store, { timeout });
  app.use(sessions);
  app.use(async (ctx) => {
    switch (ctx.path.slice(1)) {
      case 'free':
        ctx.body = 'free';
        return;
      case 'count':
        ctx.session.counter = (ctx.session.counter ?? 0) + 1;
        break;
      case 'update':
        await sessions.of(ctx).update('counter', (counter = 0) => counter + 1);
        break;
      case 'login':
        await ctx.session.regenerate();
        break;
      case 'logout':
        await ctx.session.destroy();
        break;
    }
    ctx.body = String(ctx.session.counter ?? 0);
  });
  return app;
}
