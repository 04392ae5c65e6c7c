import { createHash } from 'node:crypto';
import type * as Koa from 'koa';

/** What is needed of Redis: ioredis has it. */
interface Counters {
  set(key: string, value: number, ex: 'EX', seconds: number, nx: 'NX'): Promise<unknown>;
  incr(key: string): Promise<number>;
  del(key: string): Promise<unknown>;
}

export interface LoginLimits {
  /** Attempts on one name in the time. Default 10. */
  readonly perName?: number;
  /** Attempts from one address in the time: many visitors can share one. Default 100. */
  readonly perAddress?: number;
  /** The time in seconds. Default 900. */
  readonly seconds?: number;
}

/** Middleware of the login's route, after the body parser: responds with 429 to too many attempts. */
export function limitLogins(redis: Counters, options: LoginLimits = {}): Koa.Middleware {
  const { perName = 10, perAddress = 100, seconds = 900 } = options;

  const count = async (key: string): Promise<number> => {
    await redis.set(key, 0, 'EX', seconds, 'NX'); // the first attempt begins the time
    return redis.incr(key);
  };

  return async (ctx, next) => {
    const { name } = (ctx.request as unknown as { body?: { name?: unknown } }).body ?? {};
    const byName = `attempts:name:${createHash('sha256').update(String(name)).digest('base64url')}`;
    const [names, addresses] = await Promise.all([count(byName), count(`attempts:address:${ctx.ip}`)]);
    if (names > perName || addresses > perAddress)
      return ctx.throw(429, 'Too many attempts.', { headers: { 'Retry-After': String(seconds) } });
    await next(); // a wrong password throws a 401 here
    if (ctx.status < 400) await redis.del(byName);
  };
}
