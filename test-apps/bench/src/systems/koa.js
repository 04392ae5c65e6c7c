import { createServer } from 'node:http';
import Koa from 'koa';
import { answer } from '../works.js';

/** Koa alone, and the base of the systems on Koa. */
export function create() {
  return serve([]);
}

/** A Koa app with these middlewares before the works. */
export function serve(middlewares, { keys } = {}) {
  const app = new Koa();
  if (keys) app.keys = keys;
  for (const middleware of middlewares) app.use(middleware);
  app.use((ctx) => {
    ctx.body = answer(ctx.url, ctx);
  });
  return createServer(app.callback());
}
