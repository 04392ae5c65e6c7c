import querystring from 'node:querystring';
import { unsign } from 'cookie-signature';
import type Koa from 'koa';
import type { Migrate, SessionData } from 'koa-wsession';

/** Sessions that express-session kept in Redis with connect-redis. `redis`: a client of ioredis or node-redis. */
export function fromExpressSession(
  redis: { get(key: string): Promise<string | null> },
  secret: string,
  name = 'connect.sid',
  prefix = 'sess:',
): Migrate {
  const read = async (ctx: Koa.Context): Promise<SessionData | undefined> => {
    // Not decodeURIComponent, which throws for a forged cookie.
    const value = querystring.unescape(ctx.cookies.get(name) ?? '');
    const id = value.startsWith('s:') && unsign(value.slice(2), secret);
    const record = id ? await redis.get(prefix + id) : null;
    if (record === null) return undefined;
    const { cookie, ...data } = JSON.parse(record); // `cookie`: the options of the cookie
    return data;
  };
  return Object.assign(read, { clear: name });
}
