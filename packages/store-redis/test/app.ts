import Koa from 'koa';
import { type Store, session } from 'koa-wsession';

declare module 'koa-wsession' {
  interface SessionData {
    counter?: number;
  }
}

/** An app with a path for each thing that one does to a session. It answers the counter, where the session is touched. */
export function counterApp(store: Store, timeout = 5000): Koa {
  const app = new Koa();
  app.silent = true;
  app.use(session(store, { timeout }));
  app.use(async (ctx) => {
    switch (ctx.path.slice(1)) {
      case 'free':
        ctx.body = 'free';
        return;
      case 'count':
        ctx.session.counter = (ctx.session.counter ?? 0) + 1;
        break;
      case 'update':
        await ctx.session.update('counter', (counter = 0) => counter + 1);
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
