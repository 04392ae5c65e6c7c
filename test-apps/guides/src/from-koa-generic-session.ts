import type Koa from 'koa';
import type { Migrate, SessionContent } from 'koa-wsession';

/** The options that koa-generic-session had, as far as they say where its sessions are. */
export interface KoaGenericSessionOptions {
  readonly store: { get(id: string): unknown };
  readonly key?: string;
  readonly prefix?: string;
  readonly cookie?: { readonly maxAge?: number | null };
  readonly sessionIdStore?: { get(this: Koa.Context): string | undefined };
}

/** Sessions that koa-generic-session kept in a store. The app needs the same `app.keys`, which signed the cookie. */
export function fromKoaGenericSession(options: KoaGenericSessionOptions): Migrate {
  const { store, key = 'koa.sid', prefix = 'koa:sess:', cookie = {}, sessionIdStore } = options;
  const { maxAge: usual = 86_400_000 } = cookie;
  const read = async (ctx: Koa.Context): Promise<SessionContent | undefined> => {
    const id = sessionIdStore ? sessionIdStore.get.call(ctx) : ctx.cookies.get(key, { signed: true });
    const record = id ? await store.get(prefix + id) : undefined;
    return record ? contentOf(record as OldRecord, usual) : undefined;
  };
  return sessionIdStore ? read : Object.assign(read, { clear: [key, `${key}.sig`] });
}

interface OldRecord {
  readonly cookie?: { readonly maxAge?: number | null };
}

/** Without the options of the cookie. A lifetime that isn't the usual one was assigned by the app, and is kept. */
function contentOf({ cookie, ...data }: OldRecord, usual: number | null): SessionContent {
  const own = cookie?.maxAge;
  if (own === undefined || own === usual) return data;
  return { ...data, maxAge: own === null ? 'session' : Math.min(Math.max(own, 60_000), 400 * 86_400_000) };
}
