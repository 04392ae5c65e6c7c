import querystring from 'node:querystring';
import { unsign } from 'cookie-signature';
import type Koa from 'koa';
import type { Adopt, SessionData } from 'koa-wsession';

/** Sessions that express-session kept in Redis with connect-redis. `redis`: a client of either kind. */
export function fromExpressSession(
  redis: { get(key: string): Promise<string | null> },
  secret: string,
  name = 'connect.sid',
  prefix = 'sess:',
): Adopt {
  const read = async (ctx: Koa.Context): Promise<SessionData | undefined> => {
    // Not decodeURIComponent, which throws at a forged one.
    const value = querystring.unescape(ctx.cookies.get(name) ?? '');
    const id = value.startsWith('s:') && unsign(value.slice(2), secret);
    const record = id ? await redis.get(prefix + id) : null;
    if (record === null) return undefined;
    const { cookie, flash, ...data } = JSON.parse(record); // the cookie's options; connect-flash's messages
    return data;
  };
  return Object.assign(read, { clear: name });
}
