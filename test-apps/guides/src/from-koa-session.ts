import type Koa from 'koa';
import type { Migrate, SessionData } from 'koa-wsession';

/** Sessions that koa-session kept in its cookie. The app needs the same `app.keys`, which signed the cookie. */
export function fromKoaSession(name = 'koa.sess'): Migrate {
  const read = (ctx: Koa.Context): SessionData | undefined => {
    const value = ctx.cookies.get(name, { signed: true });
    return value ? contentOf(JSON.parse(Buffer.from(value, 'base64').toString())) : undefined;
  };
  return Object.assign(read, { clear: [name, `${name}.sig`] });
}

/** Sessions that koa-session kept in the `store` of its options, under a key that is in the cookie. */
export function fromKoaSessionStore(old: OldStore, name = 'koa.sess'): Migrate {
  const read = async (ctx: Koa.Context): Promise<SessionData | undefined> => {
    const key = ctx.cookies.get(name, { signed: true });
    return key ? contentOf(await old.get(key)) : undefined;
  };
  return Object.assign(read, { clear: [name, `${name}.sig`] });
}

interface OldStore {
  get(key: string): unknown;
}

/** Without what koa-session added. With `maxAge: 'session'`, there is no `_expire`. */
function contentOf(record: unknown): SessionData | undefined {
  const { _expire, _maxAge, _session, ...data } = (record ?? {}) as Record<string, unknown>;
  return typeof _expire === 'number' && _expire <= Date.now() ? undefined : data;
}
