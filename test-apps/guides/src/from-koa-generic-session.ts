import type Koa from 'koa';
import type { Migrate, SessionData } from 'koa-wsession';

/** Sessions that koa-generic-session kept in a store. The app needs the same `app.keys`, which signed the cookie. */
export function fromKoaGenericSession(old: OldStore, name = 'koa.sid', prefix = 'koa:sess:'): Migrate {
  const read = async (ctx: Koa.Context): Promise<SessionData | undefined> => {
    const id = ctx.cookies.get(name, { signed: true });
    const record = id ? await old.get(prefix + id) : undefined;
    if (!record) return undefined;
    const { cookie, ...data } = record as Record<string, unknown>; // `cookie`: the options of the cookie
    return data;
  };
  return Object.assign(read, { clear: [name, `${name}.sig`] });
}

interface OldStore {
  get(key: string): unknown;
}
