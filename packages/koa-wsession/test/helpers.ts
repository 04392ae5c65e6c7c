import Koa from 'koa';
import {
  type Call,
  type Changes,
  type Created,
  type SessionOptions,
  type SessionRecord,
  type Sessions,
  type Store,
  session,
  type Updated,
} from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import { restore, stub } from 'sinon';
import { Client, type ClientResponse, type Served, serve } from 'testkit/http';

declare module 'koa-wsession' {
  interface SessionData {
    // biome-ignore lint/suspicious/noExplicitAny: the tests store whatever there is
    [key: string]: any;
  }
}

export type Handler = (ctx: Koa.Context) => unknown;

/** What an app reported as `error` events. */
export type Reported = Error & { code?: string; status?: number; keys?: string[] };

export interface Site {
  readonly app: Koa;
  readonly served: Served;
  readonly sessions: Sessions;
  readonly errors: Reported[];
  /** A new visitor. */
  visitor(): Client;
  /** The promise of the next `error` event. */
  nextError(): Promise<Reported>;
}

export interface SiteOptions extends SessionOptions {
  store?: Store;
  /** Middleware in front of the session's. */
  before?: Koa.Middleware[];
  keyring?: string[];
  /** Leaves Koa's own error listener in place. */
  mute?: boolean;
}

const open: Served[] = [];

/**
 * An app with a session and a handler by path. What a handler answers becomes the body, as JSON; without an answer
 * the body is what the handler made it, or `ok`.
 */
export async function createSite(
  handlers: Record<string, Handler>,
  { store = new MemoryStore(), before = [], keyring, mute = false, ...options }: SiteOptions = {},
): Promise<Site> {
  const app = new Koa();
  if (keyring) app.keys = keyring;
  const errors: Reported[] = [];
  const waiting: Array<(error: Reported) => void> = [];
  if (mute) app.silent = true;
  else {
    app.on('error', (error) => {
      errors.push(error);
      for (const resolve of waiting.splice(0)) resolve(error);
    });
  }
  for (const middleware of before) app.use(middleware);
  const sessions = session(store, options);
  app.use(sessions);
  app.use((ctx) => respond(ctx, handlers[ctx.path]));
  const served = await serveApp(app);
  return {
    app,
    served,
    sessions,
    errors,
    visitor: () => new Client(served),
    nextError: () => new Promise((resolve) => waiting.push(resolve)),
  };
}

async function respond(ctx: Koa.Context, handler: Handler | undefined): Promise<void> {
  const answer = await handler?.(ctx);
  if (answer !== undefined) {
    ctx.type = 'json';
    ctx.body = JSON.stringify(answer);
  } else if (ctx.body === undefined && handler) ctx.body = 'ok';
}

/** Runs `body` in the handler of one request. What it throws, the test gets; else the reply. */
export async function inRequest(
  body: Handler,
  { cookie, ...options }: SiteOptions & { cookie?: string } = {},
): Promise<ClientResponse> {
  let failure: { error: unknown } | undefined;
  const { visitor } = await createSite(
    {
      '/': async (ctx) => {
        try {
          return await body(ctx);
        } catch (error) {
          failure = { error };
        }
      },
    },
    options,
  );
  const reply = await visitor().get('/', cookie === undefined ? {} : { headers: { cookie } });
  if (failure) throw failure.error;
  return reply;
}

/** What it throws or rejects with. */
export async function errorOf(run: () => unknown): Promise<Reported> {
  try {
    await run();
  } catch (error) {
    return error as Reported;
  }
  throw new Error('nothing was thrown');
}

/** Serves until `tidy`. */
export async function serveApp(app: Parameters<typeof serve>[0]): Promise<Served> {
  const served = await serve(app);
  open.push(served);
  return served;
}

/** For `afterEach`: ends the servers, and takes back what sinon replaced. */
export async function tidy(): Promise<void> {
  restore();
  await Promise.all(open.splice(0).map((served) => served.close()));
}

/** A promise to be kept from outside. */
export class Gate<T = void> {
  readonly passed: Promise<T>;
  open!: (value: T) => void;

  constructor() {
    this.passed = new Promise((resolve) => {
      this.open = resolve;
    });
  }
}

/** A store whose methods are sinon's, each with an answer that a record can't be told from. */
export function stubStore() {
  const now = Date.now();
  return {
    expire: 3600,
    secure: false,
    domain: undefined as string | undefined,
    capabilities: { seals: false, merges: true, revokes: true },
    load: stub<[string, Call], unknown>().callsFake(() => recordOf({ n: '1' }, now)),
    create: stub<[string, SessionRecord, Call], unknown>().returns({ outcome: 'created' }),
    update: stub<[string, Changes, Call], unknown>().returns({ outcome: 'updated' }),
    destroy: stub<[string, Call], unknown>().callsFake(() => recordOf({ n: '1' }, now)),
  };
}

export type StubStore = ReturnType<typeof stubStore>;

/** The same, for `session()`. */
export function asStore(store: StubStore): Store {
  return store as unknown as Store;
}

export function recordOf(entries: Record<string, string>, createdAt: number = Date.now()): SessionRecord {
  return { entries: new Map(Object.entries(entries)), createdAt, expiresAt: createdAt + 3_600_000 };
}

/** Notes the writes to a store in the order in which they come. */
export function observe(store: Store): string[] {
  const order: string[] = [];
  for (const method of ['create', 'update', 'destroy'] as const) {
    const original = store[method] as (...args: unknown[]) => unknown;
    stub(store, method).callsFake(((...args: unknown[]) => {
      order.push(method);
      return original.apply(store, args);
    }) as never);
  }
  return order;
}

/** A Cookie header with an id that has the right form. */
export const SOME_COOKIE = `wsession=${'A'.repeat(32)}`;

/** A store that seals in name only: the token is the record, for all to read. */
export class OpenStore implements Store {
  readonly expire = 3600;
  readonly secure = false;
  readonly domain: string | undefined = undefined;
  readonly capabilities = { seals: true, merges: false, revokes: false };
  readonly #ended = new Set<string>();
  readonly calls: string[] = [];

  load(token: string): SessionRecord | undefined {
    this.calls.push('load');
    return this.#read(token)?.record;
  }

  create(key: string, record: SessionRecord): Created {
    this.calls.push('create');
    return { outcome: 'created', token: this.#write(key, record) };
  }

  update(token: string, changes: Changes): Updated {
    this.calls.push('update');
    const opened = this.#read(token);
    if (!opened) return { outcome: 'gone' };
    const { key, record } = opened;
    const { expect } = changes;
    if (expect && record.entries.get(expect.key) !== expect.value)
      return { outcome: 'conflict', actual: record.entries.get(expect.key) };
    const entries = new Map([...record.entries, ...changes.set]);
    for (const name of changes.delete) entries.delete(name);
    return {
      outcome: 'updated',
      token: this.#write(key, { ...record, entries, expiresAt: changes.expiresAt }),
    };
  }

  destroy(token: string): SessionRecord | undefined {
    this.calls.push('destroy');
    const opened = this.#read(token);
    if (opened) this.#ended.add(opened.key);
    return opened?.record;
  }

  #write(key: string, { entries, createdAt, expiresAt }: SessionRecord): string {
    return Buffer.from(JSON.stringify([key, [...entries], createdAt, expiresAt])).toString('base64url');
  }

  #read(token: string): { key: string; record: SessionRecord } | undefined {
    try {
      const [key, entries, createdAt, expiresAt] = JSON.parse(Buffer.from(token, 'base64url').toString());
      if (this.#ended.has(key) || !(Date.now() < expiresAt)) return undefined;
      return { key, record: { entries: new Map(entries), createdAt, expiresAt } };
    } catch {
      return undefined;
    }
  }
}
