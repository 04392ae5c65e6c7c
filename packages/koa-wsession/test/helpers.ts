import Koa from 'koa';
import { type SessionOptions, type Sessions, session } from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import {
  type Absent,
  applyChanges,
  type Call,
  type Changes,
  type Created,
  type DestroyCall,
  type Destroyed,
  findConflict,
  noneToDestroy,
  openRecord,
  packRecord,
  type Replacement,
  type SessionRecord,
  type Store,
  type Updated,
} from 'koa-wsession/store';
import { restore, stub } from 'sinon';
import { Client, type ClientResponse, type Served, serve } from 'testkit/http';
import { Http2Client, serveHttp2 } from './http2-client.js';

declare module 'koa-wsession' {
  interface SessionData {
    // biome-ignore lint/suspicious/noExplicitAny: the tests store values of all types
    [key: string]: any;
  }
}

export type Handler = (ctx: Koa.Context, sessions: Sessions) => unknown;

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
  /** Serves over HTTP/2. */
  http2?: boolean;
}

const open: Served[] = [];

/**
 * An app with a session and a handler by path. What a handler returns becomes the body, as JSON; without that, the body
 * is what the handler assigned, or `ok`.
 */
export async function createSite(
  handlers: Record<string, Handler>,
  { store = new MemoryStore(), before = [], keyring, mute = false, http2 = false, ...options }: SiteOptions = {},
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
  app.use((ctx) => respond(ctx, sessions, handlers[ctx.path]));
  const served = http2 ? await serveHttp2(app) : await serve(app);
  open.push(served);
  return {
    app,
    served,
    sessions,
    errors,
    visitor: () => (http2 ? new Http2Client(served) : new Client(served)),
    nextError: () => new Promise((resolve) => waiting.push(resolve)),
  };
}

async function respond(ctx: Koa.Context, sessions: Sessions, handler: Handler | undefined): Promise<void> {
  const answer = await handler?.(ctx, sessions);
  if (answer !== undefined) {
    ctx.type = 'json';
    ctx.body = JSON.stringify(answer);
  } else if (ctx.body === undefined && handler && ctx.respond !== false && ctx.writable) ctx.body = 'ok';
}

/** Runs `body` in the handler of one request. Throws what it throws; otherwise returns the response. */
export async function inRequest(
  body: Handler,
  { cookie, ...options }: SiteOptions & { cookie?: string } = {},
): Promise<ClientResponse> {
  let failure: { error: unknown } | undefined;
  const { visitor } = await createSite(
    {
      '/': async (ctx, sessions) => {
        try {
          return await body(ctx, sessions);
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

/** The error that `run` throws or rejects with. */
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

/** For `afterEach`: ends the servers, and restores what sinon replaced. */
export async function tidy(): Promise<void> {
  restore();
  await closeServers();
}

/** Ends the servers that are open. */
export async function closeServers(): Promise<void> {
  await Promise.all(open.splice(0).map((served) => served.close()));
}

/** A promise that the test resolves. */
export class Gate<T = void> {
  readonly passed: Promise<T>;
  open!: (value: T) => void;

  constructor() {
    this.passed = new Promise((resolve) => {
      this.open = resolve;
    });
  }
}

/** A store whose methods are sinon's, each with an answer that fits. */
export function stubStore() {
  let revision = 1;
  return {
    expire: 3600,
    secure: false,
    domain: undefined as string | undefined,
    capabilities: { seals: false, merges: true, revokes: true },
    load: stub<[string, Call], unknown>().callsFake(() => recordOf({ n: '1' })),
    create: stub<[string, SessionRecord, Call], unknown>().returns({ outcome: 'created' }),
    update: stub<[string, Changes, Call], unknown>().callsFake(() => ({ ...UPDATED, revision: ++revision })),
    destroy: stub<[string, DestroyCall], unknown>().callsFake(() => destroyed({ n: '1' })),
  };
}

export const UPDATED: Updated = { outcome: 'updated', revision: 2 };

export function destroyed(entries: Record<string, string>): Destroyed {
  return { outcome: 'destroyed', record: recordOf(entries) };
}

export type StubStore = ReturnType<typeof stubStore>;

/** The same, for `session()`. */
export function asStore(store: StubStore): Store {
  return store as unknown as Store;
}

/** A record; `at`: when it was created and updated last. */
export function recordOf(entries: Record<string, string>, at: number = Date.now()): SessionRecord {
  return {
    entries: new Map(Object.entries(entries)),
    createdAt: at,
    updatedAt: at,
    expiresAt: at + 3_600_000,
    revision: 1,
  };
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
    const conflict = findConflict(opened.record, changes);
    if (conflict) return conflict;
    const record = applyChanges(opened.record, changes);
    return { outcome: 'updated', revision: record.revision, token: this.#write(opened.address, record) };
  }

  destroy(token: string): Destroyed {
    this.calls.push('destroy');
    const opened = this.#read(token);
    if (!opened) return { outcome: 'none' };
    this.#ended.add(opened.address);
    return { outcome: 'destroyed', record: opened.record };
  }

  #write(address: string, record: SessionRecord): string {
    return Buffer.from(packRecord(address, record)).toString('base64url');
  }

  #read(token: string): { address: string; record: SessionRecord } | undefined {
    const opened = openRecord(Buffer.from(token, 'base64url').toString());
    const isLive = opened && !this.#ended.has(opened.address) && Date.now() < opened.record.expiresAt;
    return isLive ? opened : undefined;
  }
}

/** A store that seals and knows, as it should, which sessions go on under another id. */
export class MarkingStore implements Store {
  readonly expire = 3600;
  readonly secure = false;
  readonly domain: string | undefined = undefined;
  readonly capabilities = { seals: true, merges: false, revokes: false };
  readonly #inner = new OpenStore();
  readonly #marks = new Map<string, Replacement>();

  load(token: string): SessionRecord | Absent {
    return this.#markOf(token) ?? this.#inner.load(token);
  }

  create(key: string, record: SessionRecord): Created {
    return this.#inner.create(key, record);
  }

  update(token: string, changes: Changes): Updated {
    return this.#inner.update(token, changes);
  }

  destroy(token: string, { replaced }: DestroyCall): Destroyed {
    const mark = this.#markOf(token);
    if (mark) return noneToDestroy(mark);
    const answer = this.#inner.destroy(token);
    if (replaced && answer.outcome === 'destroyed') this.#marks.set(addressIn(token), replaced);
    return answer;
  }

  #markOf(token: string): Replacement | undefined {
    const mark = this.#marks.get(addressIn(token));
    return mark && Date.now() < mark.until ? mark : undefined;
  }
}

function addressIn(token: string): string {
  return openRecord(Buffer.from(token, 'base64url').toString())?.address ?? '';
}

/** Lets each of the store's writes take a few turns of the event loop, so that parallel requests meet anywhere. */
export function jittered<S extends Store>(store: S): S {
  for (const method of ['create', 'update', 'destroy'] as const) {
    const original = store[method].bind(store) as (...args: unknown[]) => unknown;
    stub(store, method).callsFake((async (...args: unknown[]) => {
      for (let turns = Math.random() * 4; turns > 1; turns--) await new Promise(setImmediate);
      return original(...args);
    }) as never);
  }
  return store;
}

/** Another visitor with the same cookies: a second tab, or a thief. */
export function twinOf(visitor: Client): Client {
  const twin = new Client(visitor.url);
  for (const [name, value] of visitor.jar) twin.jar.set(name, value);
  return twin;
}
