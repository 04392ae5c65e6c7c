import type Koa from 'koa';
import { type Lifecycle, openSession } from './commit.js';
import { addVary, CookieWriter, readCookies } from './cookie.js';
import { TwiceError } from './errors.js';
import { resolveOptions, type SessionOptions, type Settings, toSigner } from './options.js';
import { exposeSession, replaceContent } from './session.js';
import type { Awaitable, Store } from './store.js';
import type { Signer } from './token.js';
import type { Session, SessionData } from './types.js';

declare module 'koa' {
  interface ExtendableContext {
    get session(): Session;
    set session(content: SessionData | null);
  }
}

/**
 * Koa middleware that gives every request after it `ctx.session`.
 *
 * ```ts
 * app.use(session(new MemoryStore()));
 * app.use((ctx) => { ctx.body = ctx.session.counter = (ctx.session.counter ?? 0) + 1; });
 * ```
 * @throws OptionError for an option that can't be used
 */
export function session(store: Store, options: SessionOptions = {}): Koa.Middleware {
  const settings = resolveOptions(store, options);

  return async function session(ctx: Koa.Context, next: Koa.Next): Promise<void> {
    const visit = attach(ctx, settings);
    await visit.preload();

    let failure: { readonly error: unknown } | undefined;
    try {
      await next();
    } catch (error) {
      failure = { error };
    }

    // Whatever the handler did, it did. It is stored before anything of the response is sent, errors included.
    await visit.finish(failure);
    if (failure) throw failure.error;
  };
}

const VISIT: unique symbol = Symbol('koa-wsession');

type VisitedContext = Koa.Context & { [VISIT]?: Visit };

/** Where the request's session waits for the first touch of `ctx.session`. */
class Visit {
  readonly #ctx: Koa.Context;
  readonly #settings: Settings;
  #lifecycle: Lifecycle | undefined;
  /** Why it couldn't be loaded. */
  #failure: { readonly error: unknown } | undefined;
  #touched = false;
  #session: Session | undefined;

  constructor(ctx: Koa.Context, settings: Settings) {
    this.#ctx = ctx;
    this.#settings = settings;
  }

  /** Loads ahead of the handler, where the store has to be waited for. An outage concerns only those who touch. */
  async preload(): Promise<void> {
    if (this.#settings.store.capabilities.seals) return;
    const tokens = this.#readTokens();
    if (tokens.length === 0) return;
    try {
      this.#lifecycle = await this.#open(tokens);
    } catch (error) {
      this.#failure = { error };
    }
  }

  get session(): Session {
    this.#session ??= exposeSession(this.#touch());
    return this.#session;
  }

  set session(content: SessionData | null) {
    if (content === null) this.#touch().end();
    else replaceContent(this.#touch(), content);
  }

  async finish(failure: { readonly error: unknown } | undefined): Promise<void> {
    const lifecycle = this.#touched ? this.#lifecycle : undefined;
    if (!lifecycle) return;
    try {
      await lifecycle.finish();
    } catch (error) {
      // What the visitor has to know first is that nothing was stored; what the handler threw must not go unseen.
      if (failure && failure.error !== error) this.#ctx.app.emit('error', failure.error, this.#ctx);
      throw error;
    }
    const isStream = typeof (this.#ctx.body as { pipe?: unknown } | null | undefined)?.pipe === 'function';
    if (isStream) this.#ctx.res.once('close', () => lifecycle.watchForLateChanges());
  }

  #touch(): Lifecycle {
    if (!this.#touched) {
      this.#touched = true;
      addVary(this.#ctx.res);
    }
    if (this.#failure) throw this.#failure.error;
    // What is still to be loaded comes from a store that seals, and so at once.
    this.#lifecycle ??= this.#open(
      this.#settings.store.capabilities.seals ? this.#readTokens() : [],
    ) as Lifecycle;
    return this.#lifecycle;
  }

  #readTokens(): string[] {
    return this.#insecure ? [] : readCookies(this.#ctx.req, this.#settings.name);
  }

  #open(tokens: readonly string[]): Awaitable<Lifecycle> {
    const { name, store, cookieAttributes } = this.#settings;
    const opening = {
      settings: this.#settings,
      signer: store.capabilities.seals ? undefined : (this.#settings.keys ?? signerOf(this.#ctx.app.keys)),
      carrier: new CookieWriter(this.#ctx.res, name, cookieAttributes),
      insecure: this.#insecure,
      onLate: (error: unknown) => this.#ctx.app.emit('error', error, this.#ctx),
    };
    return openSession(opening, tokens);
  }

  get #insecure(): boolean {
    return this.#settings.store.secure && !this.#ctx.secure;
  }
}

const signers: WeakMap<object, Signer> = new WeakMap();

/** The signer of Koa's `app.keys`, which may be set after the middleware is made. */
function signerOf(keys: object | undefined): Signer | undefined {
  if (keys === undefined || keys === null) return undefined;
  const signer = signers.get(keys) ?? toSigner('app.keys', keys);
  signers.set(keys, signer);
  return signer;
}

const attached: WeakSet<object> = new WeakSet();

/** Gives the request its visit, and Koa's context the accessor `session` when the first request comes. */
function attach(ctx: VisitedContext, settings: Settings): Visit {
  const prototype = Object.getPrototypeOf(ctx);
  if (!attached.has(prototype)) {
    if ('session' in prototype) throw new TwiceError();
    Object.defineProperty(prototype, 'session', accessor);
    attached.add(prototype);
  }
  if (ctx[VISIT]) throw new TwiceError();
  const visit = new Visit(ctx, settings);
  ctx[VISIT] = visit;
  return visit;
}

const accessor: PropertyDescriptor & ThisType<VisitedContext> = {
  configurable: true,
  get() {
    return this[VISIT]?.session;
  },
  set(content) {
    const visit = this[VISIT];
    if (visit) visit.session = content;
  },
};
