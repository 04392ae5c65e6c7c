import type { IncomingMessage } from 'node:http';
import { Stream } from 'node:stream';
import type Koa from 'koa';
import { OrderError, TwiceError } from './errors.js';
import { type OpenOptions, openOutside } from './open.js';
import { resolveOptions, type SessionOptions, type Settings } from './options.js';
import { listOwned, type OwnedSession, type RevokeOptions, refOf, revokeOwned } from './owners.js';
import type { Store } from './store.js';
import type { Session, SessionData } from './types.js';
import { Visit } from './visit.js';

declare module 'koa' {
  interface ExtendableContext {
    get session(): Session;
    set session(content: SessionData | null);
  }
}

/** The middleware, and what can be done with sessions outside of a request. */
export interface Sessions extends Koa.Middleware {
  /**
   * Opens the session of a request that doesn't come through Koa: a WebSocket's upgrade, a plain server's. An anonymous
   * visitor gets a new session, as anywhere. Nothing is stored by itself: `save()` and `update()` do.
   * @throws UnavailableError
   */
  open(request: IncomingMessage, options?: OpenOptions): Promise<Session>;

  /**
   * What stands for a session in `list` and in events: a hash, from which no id can be had. `undefined` while nothing of
   * it is stored.
   */
  ref(session: Session): string | undefined;

  /**
   * The sessions whose `owner` this is, newest first; the one that is `current` is marked.
   * @throws UnsupportedError with a store that has no `owners` (one that seals); UnavailableError; OptionError for an
   * owner that is no string, or an empty one
   */
  list(owner: string, current?: Session): Promise<OwnedSession[]>;

  /**
   * Ends an owner's sessions, as final as any logout: all of them, all `except` one (`ctx.session`), or `only` the one
   * with this `ref`. Answers how many it ended.
   * @throws as `list`
   */
  revoke(owner: string, options?: RevokeOptions): Promise<number>;
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
export function session(store: Store, options: SessionOptions = {}): Sessions {
  const settings = resolveOptions(store, options);

  async function session(ctx: Koa.Context, next: Koa.Next): Promise<void> {
    const visit = attach(ctx, settings);
    // Only what has to be waited for is: these two awaits would cost each request as much as all the rest of this.
    const loading = visit.preload();
    if (loading) await loading;
    if (settings.adopt) await visit.adopt(ctx);

    let failure: { readonly error: unknown } | undefined;
    try {
      await next();
    } catch (error) {
      failure = { error };
    }

    // Whatever the handler did, it did. It is stored before anything of the response is sent, errors included.
    const storing = visit.finish(failure);
    if (storing) await storing;
    if (failure) throw failure.error;
    if (isStreamed(ctx)) visit.watchStream();
  }

  return Object.assign(session, {
    open: (request: IncomingMessage, outside: OpenOptions = {}) => openOutside(settings, request, outside),
    ref: (one: Session) => refOf(settings, one),
    list: (owner: string, current?: Session) => listOwned(settings, owner, current),
    revoke: (owner: string, which?: RevokeOptions) => revokeOwned(settings, owner, which),
  });
}

/** Whether the response's body goes out when the middlewares are done, so that the handler may still be at work. */
function isStreamed({ body, respond }: Koa.Context): boolean {
  if (respond === false) return true;
  if (typeof body !== 'object') return false; // the usual case; Node loads Response when it is first looked at
  return body instanceof Stream || body instanceof ReadableStream || body instanceof Response;
}

const VISIT: unique symbol = Symbol('koa-wsession');

type VisitedContext = Koa.Context & { [VISIT]?: Visit };

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
  if (Object.hasOwn(ctx, 'session')) throw new OrderError();
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
    if (!visit) throw new OrderError();
    visit.session = content;
  },
};
