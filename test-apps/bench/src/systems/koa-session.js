import { createServer } from 'node:http';
import Koa from 'koa';
import { createSession } from 'koa-session';
import { answer } from '../works.js';

/** In the cookie, signed, not encrypted. */
export function create({ secret }) {
  return serveKoaSession(secret);
}

export function serveKoaSession(secret, options = {}) {
  const app = new Koa();
  app.keys = [secret];
  app.use(createSession({ maxAge: 3_600_000, ...options }, app));
  app.use((ctx) => {
    ctx.body = answer(ctx.url, ctx);
  });
  return createServer(app.callback());
}
