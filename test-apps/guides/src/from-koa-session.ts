import type Koa from 'koa';
import type { Migrate, SessionContent } from 'koa-wsession';

/** The options that koa-session had, as far as they say where its sessions are. */
export interface KoaSessionOptions {
  readonly key?: string;
  readonly maxAge?: number | 'session';
  readonly store?: OldStore;
  readonly ContextStore?: new (ctx: Koa.Context) => OldStore;
  readonly externalKey?: { get(ctx: Koa.Context): string | undefined };
  readonly decode?: (value: string) => unknown;
}

interface OldStore {
  get(key: string, maxAge: number | 'session' | undefined, options: { ctx: Koa.Context; rolling: boolean }): unknown;
}

/** Sessions of koa-session, in its cookie or in a store. The app needs the same `app.keys`, which signed the cookie. */
export function fromKoaSession(options: KoaSessionOptions = {}): Migrate {
  const { key = 'koa.sess', maxAge = 86_400_000, store, ContextStore, externalKey, decode = decodeJson } = options;
  const read = async (ctx: Koa.Context): Promise<SessionContent | undefined> => {
    const value = externalKey ? externalKey.get(ctx) : ctx.cookies.get(key, { signed: true });
    if (!value) return undefined;
    const old = ContextStore ? new ContextStore(ctx) : store;
    const record = old ? await old.get(value, maxAge, { ctx, rolling: false }) : decode(value);
    return record ? contentOf(record as OldRecord, maxAge) : undefined;
  };
  return externalKey ? read : Object.assign(read, { clear: [key, `${key}.sig`] });
}

interface OldRecord {
  readonly _expire?: number;
  readonly _maxAge?: number;
  readonly _session?: boolean;
}

/** Without what koa-session added. A lifetime that isn't the usual one was assigned by the app, and is kept. */
function contentOf({ _expire, _maxAge, _session, ...data }: OldRecord, usual: unknown): SessionContent | undefined {
  if (_expire !== undefined && _expire <= Date.now()) return undefined;
  if (_session) return { ...data, maxAge: 'session' };
  if (_maxAge === undefined || _maxAge === usual) return data;
  return { ...data, maxAge: Math.min(Math.max(_maxAge, 60_000), 400 * 86_400_000) };
}

function decodeJson(value: string): unknown {
  return JSON.parse(Buffer.from(value, 'base64').toString());
}
