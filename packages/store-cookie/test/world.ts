import Koa from 'koa';
import { type SessionOptions, type Sessions, session } from 'koa-wsession';
import type { Store } from 'koa-wsession/store';
import { Client, serve } from 'testkit/http';

declare module 'koa-wsession' {
  interface SessionData {
    counter?: number;
    large?: string;
    small?: string;
  }
}

/** A small app over HTTP. */
export interface World {
  /** A visitor, with a cookie or without. */
  visitor(cookie?: string): Client;
  /** The app's `error` events. */
  readonly errors: Array<Error & { code?: string; bytes?: number; largest?: readonly string[] }>;
  readonly app: Koa;
  close(): Promise<void>;
}

export type Handler = (ctx: Koa.Context, sessions: Sessions) => unknown;

/** An app with a handler by path, on `store`. */
export async function makeWorld(
  store: Store,
  handlers: Record<string, Handler>,
  options: SessionOptions = {},
): Promise<World> {
  const app = new Koa();
  const errors: World['errors'] = [];
  app.on('error', (error) => errors.push(error));
  const sessions = session(store, options);
  app.use(sessions);
  app.use(async (ctx) => {
    ctx.body = JSON.stringify((await handlers[ctx.path]?.(ctx, sessions)) ?? 'ok');
  });
  const served = await serve(app);
  return {
    app,
    errors,
    visitor(cookie) {
      const client = new Client(served);
      if (cookie !== undefined) client.jar.set(options.name ?? 'wsession', cookie);
      return client;
    },
    close: () => served.close(),
  };
}

export function count(ctx: Koa.Context): number {
  ctx.session.counter = (ctx.session.counter ?? 0) + 1;
  return ctx.session.counter;
}

export function read(ctx: Koa.Context): object {
  return { ...ctx.session };
}
