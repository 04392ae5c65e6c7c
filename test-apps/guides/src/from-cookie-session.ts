import type Koa from 'koa';
import type { Migrate, SessionContent } from 'koa-wsession';

/** Sessions that cookie-session kept in its cookie. The app needs its `keys` as `app.keys`: they signed the cookie. */
export function fromCookieSession(name = 'session'): Migrate {
  const read = (ctx: Koa.Context): SessionContent | undefined => {
    const value = ctx.cookies.get(name, { signed: true });
    return value ? JSON.parse(Buffer.from(value, 'base64').toString()) : undefined;
  };
  return Object.assign(read, { clear: [name, `${name}.sig`] });
}
