import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { Redis } from 'ioredis';
import Koa from 'koa';
import { answer, bigOf, describeBig } from '../works.js';

/** HGETALL to read, HSET and PEXPIRE in one pipeline to write, JSON; nothing that makes a session safe to use. */
export function create({ redisPort }) {
  const redis = new Redis(redisPort);
  const app = new Koa();
  app.use(async (ctx) => {
    const { url } = ctx;
    const key = ctx.req.headers.cookie?.slice(2);
    switch (url) {
      case '/untouched':
        ctx.body = answer(url, ctx);
        return;
      case '/fill':
      case '/fill-big': {
        const session = {};
        ctx.body = answer(url, { session });
        await write(randomBytes(24).toString('base64url'), session);
        return;
      }
      case '/read':
        ctx.body = JSON.parse((await redis.hgetall(key)).name);
        return;
      case '/read-big':
        ctx.body = describeBig(JSON.parse((await redis.hgetall(key)).big));
        return;
      case '/read-counter':
        ctx.body = String(JSON.parse((await redis.hgetall(key)).counter));
        return;
      case '/counter': {
        const counter = JSON.parse((await redis.hgetall(key)).counter) + 1;
        ctx.body = String(counter);
        await write(key, { counter });
        return;
      }
      default: {
        const big = bigOf(url);
        ctx.body = describeBig(big);
        await write(key, { big });
      }
    }

    async function write(id, changes) {
      const fields = Object.entries(changes).flatMap(([name, value]) => [name, JSON.stringify(value)]);
      await redis
        .pipeline()
        .hset(id, ...fields)
        .pexpire(id, 3_600_000)
        .exec();
      ctx.res.setHeader('Set-Cookie', `s=${id}; Max-Age=3600; Path=/; HttpOnly; SameSite=Lax`);
    }
  });
  return createServer(app.callback());
}
