import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import Koa from 'koa';
import { type Sessions, session } from '../middleware.js';
import type { SessionOptions, StoreOptions } from '../options.js';
import type { Store } from '../store.js';
import type { Session, SessionData } from '../types.js';
import type { Subject } from './index.js';

// biome-ignore lint/suspicious/noExplicitAny: the suite stores whatever there is.
type AnyData = Record<string, any>;

/** `ctx` with a session that may hold anything. */
export type AnyContext = Omit<Koa.Context, 'session'> & {
  get session(): Session & AnyData;
  set session(data: (SessionData & AnyData) | null);
};

export type Handler = (ctx: AnyContext) => unknown;

export interface Reply {
  readonly status: number;
  readonly text: string;
  readonly headers: Headers;
  /** The one Set-Cookie line, or `undefined`. */
  readonly setCookie: string | undefined;
}

/** A browser that keeps one cookie. */
export interface Visitor {
  cookie: string | undefined;
  get(path: string, headers?: Record<string, string>): Promise<Reply>;
}

export interface World {
  readonly store: Store;
  readonly sessions: Sessions;
  /** The store's methods in the order in which they were called. */
  readonly calls: string[];
  /** What the app reported as `error` events. */
  readonly errors: Array<Error & { code?: string }>;
  readonly app: Koa;
  visitor(cookie?: string): Visitor;
}

/** Starts and stops small Koa apps on the store under test. */
export class Worlds {
  readonly #subject: Subject;
  readonly #servers: Server[] = [];
  readonly #stores: Store[] = [];

  constructor(subject: Subject) {
    this.#subject = subject;
  }

  /** An app with a handler by path, and beside them `/untouched`, which leaves the session alone. */
  async create(
    handlers: Record<string, Handler>,
    options?: SessionOptions,
    storeOptions?: StoreOptions,
  ): Promise<World> {
    const store = await this.#subject.create(storeOptions);
    this.#stores.push(store);
    const calls: string[] = [];
    const errors: Error[] = [];
    const app = new Koa();
    app.on('error', (error) => errors.push(error));
    const sessions = session(observe(store, calls), options);
    app.use(sessions);
    app.use(async (ctx) => {
      const body = await handlers[ctx.path]?.(ctx as unknown as AnyContext);
      if (ctx.body === undefined) ctx.body = body === undefined ? 'ok' : JSON.stringify(body);
    });
    const server = createServer(app.callback());
    this.#servers.push(server);
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    return { store, sessions, calls, errors, app, visitor: (cookie) => makeVisitor(origin, cookie) };
  }

  async close(): Promise<void> {
    for (const server of this.#servers.splice(0)) {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    }
    for (const store of this.#stores.splice(0)) await store.close?.();
  }
}

/** A promise to be kept from outside: a handler waits at it. */
export class Gate {
  readonly passed: Promise<void>;
  open!: () => void;

  constructor() {
    this.passed = new Promise((resolve) => {
      this.open = resolve;
    });
  }
}

function observe(store: Store, calls: string[]): Store {
  const { expire, secure, domain, capabilities } = store;
  const note =
    <A extends unknown[], R>(name: string, method: (...args: A) => R) =>
    (...args: A): R => {
      calls.push(name);
      return method.apply(store, args);
    };
  return {
    expire,
    secure,
    domain,
    capabilities,
    ...(store.owners && { owners: store.owners }),
    load: note('load', store.load),
    create: note('create', store.create),
    update: note('update', store.update),
    destroy: note('destroy', store.destroy),
  };
}

function makeVisitor(origin: string, cookie: string | undefined): Visitor {
  return {
    cookie,
    async get(path, headers = {}) {
      const response = await fetch(origin + path, {
        headers: this.cookie === undefined ? headers : { cookie: this.cookie, ...headers },
      });
      const [setCookie] = response.headers.getSetCookie();
      if (setCookie?.includes('Max-Age=0')) this.cookie = undefined;
      else if (setCookie) this.cookie = setCookie.split(';')[0];
      return { status: response.status, text: await response.text(), headers: response.headers, setCookie };
    },
  };
}
