import querystring from 'node:querystring';
import { promisify } from 'node:util';
import { unsign } from 'cookie-signature';
import type Koa from 'koa';
import type { Migrate, SessionContent } from 'koa-wsession';

/** The options that express-session had, as far as they say where its sessions are. */
export interface ExpressSessionOptions {
  readonly store: { get(id: string, callback: (error: unknown, record?: unknown) => void): unknown };
  readonly secret: string | readonly string[];
  readonly name?: string;
  readonly cookie?: { readonly maxAge?: number | null };
}

/** Sessions that express-session kept in a store. */
export function fromExpressSession(options: ExpressSessionOptions): Migrate {
  const { store, secret, name = 'connect.sid', cookie = {} } = options;
  const load = promisify(store.get.bind(store)) as (id: string) => Promise<unknown>;
  const read = async (ctx: Koa.Context): Promise<SessionContent | undefined> => {
    // Not decodeURIComponent, which throws for a forged cookie.
    const value = querystring.unescape(ctx.cookies.get(name) ?? '');
    const id = value.startsWith('s:') && verify(value.slice(2), [secret].flat());
    const record = id ? await load(id) : undefined;
    return record ? contentOf(record as OldRecord, cookie.maxAge ?? null) : undefined;
  };
  return Object.assign(read, { clear: name });
}

function verify(value: string, secrets: readonly string[]): string | undefined {
  for (const secret of secrets) {
    const id = unsign(value, secret);
    if (id) return id;
  }
  return undefined;
}

interface OldRecord {
  readonly cookie?: { readonly originalMaxAge?: number | null; readonly expires?: string | Date | null };
}

/** Without the options of the cookie. A lifetime that isn't the usual one was assigned by the app, and is kept. */
function contentOf({ cookie, ...data }: OldRecord, usual: number | null): SessionContent | undefined {
  const { originalMaxAge: own = null, expires } = cookie ?? {};
  if (expires && new Date(expires).getTime() <= Date.now()) return undefined;
  if (own === usual) return data;
  return { ...data, maxAge: own === null ? 'session' : Math.min(Math.max(own, 60_000), 400 * 86_400_000) };
}
