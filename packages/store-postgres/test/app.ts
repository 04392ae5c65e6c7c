import Koa from 'koa';
import { session } from 'koa-wsession';
import type { Store } from 'koa-wsession/store';

// What is in the sessions is declared in testkit/two-processes.

/** Pauses a request: told that it arrived, and when to go on. */
export type Pause = () => Promise<unknown>;

/** An app with a path for each thing that a request does to a session. It responds with the content, where it touches the session. */
export function counterApp(store: Store, timeout = 5000, pause: Pause = async () => {}): Koa {
  const app = new Koa();
  app.silent = true;
  const sessions = session(store, { timeout });
  app.use(sessions);
  app.use(async (ctx) => {
    const [, action, name = ''] = ctx.path.split('/');
    switch (action) {
      case 'untouched':
        ctx.body = 'untouched';
        return;
      case 'count':
        ctx.session.counter = (ctx.session.counter ?? 0) + 1;
        break;
      case 'set':
        ctx.session[name as `key-${number}`] = 1;
        break;
      case 'hold':
        ctx.session['key-1'] = 1;
        await pause();
        break;
      case 'update':
        await sessions.of(ctx).update('counter', (counter = 0) => counter + 1);
        break;
      case 'login':
        await sessions.of(ctx).logIn(name);
        break;
      case 'regenerate':
        await ctx.session.regenerate();
        break;
      case 'logout':
        await ctx.session.destroy();
        break;
      case 'list':
        ctx.body = await sessions.list(name);
        return;
      case 'revoke':
        ctx.body = await sessions.revoke(name);
        return;
    }
    ctx.body = { ...ctx.session };
  });
  return app;
}
