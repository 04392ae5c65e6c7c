import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import Koa from 'koa';
import { type Session, type SessionData, type SessionOptions, type Sessions, session } from '../../index.js';
import type { Store } from '../../store/store.js';
import type { Suite } from '../suite.js';

// biome-ignore lint/suspicious/noExplicitAny: the suite stores whatever there is.
type Any = any;
type AnyData = Record<string, Any>;

/** `ctx` with a session that may hold anything. */
export type AnyContext = Omit<Koa.Context, 'session'> & {
  get session(): Session & AnyData;
  set session(data: (SessionData & AnyData) | null);
};

/** What `sessions.of(ctx)` returns, for any data. */
export interface Current {
  readonly owner: string | undefined;
  logIn(owner: string, options?: { label?: string; keep?: readonly string[] }): Promise<void>;
  logOut(): Promise<void>;
  update(key: string, change: (value: Any) => unknown): Promise<Any>;
  flash(key: string, value: unknown): void;
  takeFlash(key: string): Promise<Any[]>;
}

/** What a handler returns becomes the body, as JSON; without a value the body is `ok`. */
export type Handler = (ctx: AnyContext, current: Current) => unknown;

export interface Site {
  readonly sessions: Sessions;
  /** The calls of the store's methods, in order. */
  readonly calls: string[];
  /** The app's `error` events. */
  readonly errors: Array<Error & { code?: string }>;
  visitor(cookie?: string): Visitor;
}

export interface Reply {
  readonly status: number;
  readonly text: string;
  /** The session's Set-Cookie line. */
  readonly setCookie: string | undefined;
}

/** A browser that keeps one cookie. */
export interface Visitor {
  cookie: string | undefined;
  /** `headers.cookie` is sent in place of the one that the browser has. */
  get(path: string, headers?: Record<string, string>): Promise<Reply>;
}

export const NAME = 'conformance';

/** An app on a new store, until the end of the test: a handler by path, and any other path leaves the session alone. */
export async function openSite(
  suite: Suite,
  handlers: Record<string, Handler>,
  options?: SessionOptions,
): Promise<Site> {
  const calls: string[] = [];
  const errors: Error[] = [];
  const sessions = session(observe(await suite.open(), calls), { name: NAME, ...options });
  const app = new Koa();
  app.on('error', (error) => errors.push(error));
  app.use(sessions);
  app.use(async (ctx) => {
    const handler = handlers[ctx.path];
    const body = await handler?.(ctx as unknown as AnyContext, sessions.of(ctx) as unknown as Current);
    ctx.body = body === undefined ? 'ok' : JSON.stringify(body);
  });
  const server = createServer(app.callback());
  await once(server.listen(0, '127.0.0.1'), 'listening');
  suite.onTidy(async () => {
    const closed = once(server.close(), 'close');
    server.closeAllConnections();
    await closed;
  });
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { sessions, calls, errors, visitor: (cookie) => openBrowser(origin, cookie) };
}

/** The store, with a note of each call. */
function observe(store: Store, calls: string[]): Store {
  return new Proxy(store, {
    get(target, name) {
      const value = Reflect.get(target, name);
      if (typeof value !== 'function') return value;
      return (...args: unknown[]) => {
        calls.push(String(name));
        return value.apply(target, args);
      };
    },
  });
}

function openBrowser(origin: string, cookie: string | undefined): Visitor {
  return {
    cookie,
    async get(path, headers = {}) {
      const sent = this.cookie === undefined ? headers : { cookie: this.cookie, ...headers };
      const response = await fetch(origin + path, { headers: sent });
      const [setCookie] = response.headers.getSetCookie();
      if (setCookie?.includes('Max-Age=0')) this.cookie = undefined;
      else if (setCookie) this.cookie = setCookie.split(';')[0];
      return { status: response.status, text: await response.text(), setCookie };
    },
  };
}

export const count: Handler = (ctx) => {
  ctx.session.counter = (ctx.session.counter ?? 0) + 1;
  return ctx.session.counter;
};

export const read: Handler = (ctx, { owner }) => ({ ...ctx.session, ...(owner !== undefined && { owner }) });

export const logIn: Handler = ({ query }, current) =>
  current.logIn(String(query.owner ?? 'ada'), { label: String(query.label) });

export const logOut: Handler = (_, current) => current.logOut();

/** Holds requests in their handlers until the test lets them go on. */
export class Gate {
  /** Resolves when as many requests as expected have come. */
  readonly reached: Promise<void>;
  open!: () => void;
  readonly #opened: Promise<void>;
  #reach!: () => void;
  #missing: number;

  constructor(expected = 1) {
    this.#missing = expected;
    this.reached = new Promise((resolve) => {
      this.#reach = resolve;
    });
    this.#opened = new Promise((resolve) => {
      this.open = resolve;
    });
  }

  /** Waits, in a handler, until the gate is open. */
  pass(): Promise<void> {
    if (--this.#missing === 0) this.#reach();
    return this.#opened;
  }
}
