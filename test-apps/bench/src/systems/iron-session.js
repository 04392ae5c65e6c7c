import { createServer } from 'node:http';
import { getIronSession } from 'iron-session';
import Koa from 'koa';
import { answer } from '../works.js';

/** It opens and saves the session where the handler says so. */
export function create({ secret }) {
  const options = {
    password: secret,
    cookieName: 'iron',
    ttl: 3600,
    cookieOptions: { secure: false, sameSite: 'lax' },
  };
  const app = new Koa();
  app.use(async (ctx) => {
    const { url } = ctx;
    if (url === '/untouched') {
      ctx.body = answer(url, ctx);
      return;
    }
    const session = await getIronSession(ctx.req, ctx.res, options);
    ctx.body = answer(url, { session });
    if (!url.startsWith('/read')) await session.save();
  });
  return createServer(app.callback());
}
