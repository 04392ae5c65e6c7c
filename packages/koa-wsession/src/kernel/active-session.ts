import type { IncomingMessage } from 'node:http';
import type * as Koa from 'koa';
import { MiddlewareOrderError } from '../errors.js';
import type { SessionRequest } from './request.js';

/*
 * A session belongs to a request and a name: Node's request, since a mounted app may make a context of its own for it.
 * `ctx.session` is the one whose middleware the context passed last.
 */

const SESSIONS: unique symbol = Symbol('koa-wsession');
const ACTIVE: unique symbol = Symbol('koa-wsession active');

type Request = IncomingMessage & { [SESSIONS]?: SessionRequest };
type Context = Koa.Context & { [ACTIVE]?: SessionRequest };

/** The session of this name, if its middleware has run for the request. */
export function requestOf(request: Request | undefined, name: string): SessionRequest | undefined {
  for (let one = request?.[SESSIONS]; one; one = one.earlier) if (one.settings.name === name) return one;
  return undefined;
}

/** The session whose middleware ran for the request last. */
export function latestOf(request: Request): SessionRequest | undefined {
  return request[SESSIONS];
}

export function register(request: Request, session: SessionRequest): void {
  request[SESSIONS] = session;
}

/** The session that is `ctx.session`. */
export function activeOn(ctx: Context): SessionRequest | undefined {
  return ctx[ACTIVE];
}

/** Makes it `ctx.session`. */
export function activate(ctx: Context, session: SessionRequest): void {
  if (!ctx[ACTIVE]) expose(ctx);
  ctx[ACTIVE] = session;
}

/** Koa's contexts, one an app, that have the accessor. */
const exposed: WeakSet<object> = new WeakSet();

/** Defines `session` on Koa's context, once an app; where something else has that name, on this context alone. */
function expose(ctx: Context): void {
  const prototype = Object.getPrototypeOf(ctx);
  if (!exposed.has(prototype) && !('session' in ctx)) {
    exposed.add(prototype);
    Object.defineProperty(prototype, 'session', accessor);
  } else if (!isOurs(ctx)) replace(ctx);
}

let isProbing = false;

/** Whether `ctx.session` is our accessor: several times as fast as a look at the property's descriptor. */
function isOurs(ctx: Context): boolean {
  isProbing = true;
  try {
    return (ctx.session as unknown) === accessor;
  } catch {
    return false; // another library's, which isn't ready
  } finally {
    isProbing = false;
  }
}

function replace(ctx: Context): void {
  Object.defineProperty(ctx, 'session', accessor);
  if (warned.has(ctx.app)) return;
  warned.add(ctx.app);
  process.emitWarning(
    'Another library, or a test, has defined ctx.session: the session middleware replaces it from here on. ' +
      'Remove one of the two; to begin a test with a session, use agentCookie() of koa-wsession/testing.',
    { code: 'WSESSION_REPLACED' },
  );
}

const warned: WeakSet<object> = new WeakSet();

const accessor: PropertyDescriptor & ThisType<Context> = {
  configurable: true,
  get() {
    return isProbing ? accessor : this[ACTIVE]?.session;
  },
  set(content) {
    const session = this[ACTIVE];
    if (session) session.session = content;
    else if (this.req) throw new MiddlewareOrderError();
    // Not a request's context but an app's: an ordinary property, as it would have been before the first request.
    else
      Object.defineProperty(this, 'session', {
        value: content,
        writable: true,
        configurable: true,
        enumerable: true,
      });
  },
};
