import { type IncomingMessage, ServerResponse } from 'node:http';
import { Stream } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import type * as Koa from 'koa';
import { DuplicateMiddlewareError, MiddlewareOrderError } from '../errors.js';
import type { Session } from '../types.js';
import { activate, activeOn, latestOf, register, requestOf } from './active-session.js';
import type { Settings } from './options.js';
import { type RequestContext, SessionRequest } from './request.js';
import { objectOf, type SessionObject } from './session-object.js';
import { toSigner } from './token.js';
import { IdTokenStore, SealedTokenStore, type TokenStore } from './token-store.js';

/** What `sessions.open(request, …)` may be given. */
export interface OpenOptions {
  /** Where a new token can be written to, if one is due. Without it, a change that needs one is a NoResponseError. */
  readonly response?: ServerResponse;
  /**
   * The app, for its `keys` and for `proxy`: with them ids are verified and https is recognised as in its own requests.
   * Needed where the ids are signed with `app.keys`; a list of `keys` among the session's options serves as well.
   */
  readonly app?: Koa.Context['app'];
}

/** Runs after the session was loaded and before the handler. `true`: it has responded. */
export type Prologue = (request: SessionRequest, ctx: Koa.Context) => Promise<unknown> | undefined;

/** The sessions of one middleware: in a request, and outside one. */
export class SessionKernel {
  readonly settings: Settings;
  readonly #tokens: WeakMap<object, TokenStore> = new WeakMap();
  readonly #prologues: readonly Prologue[];

  constructor(settings: Settings, prologues: readonly Prologue[]) {
    this.settings = settings;
    this.#prologues = prologues;
  }

  /** The middleware: loads, runs the handler, stores. */
  async handle(ctx: Koa.Context, next: Koa.Next): Promise<void> {
    const outer = activeOn(ctx);
    const earlier = this.#earlierFor(ctx.req);
    const request = earlier ?? new SessionRequest(ctx, this.settings, this.tokensFor(ctx.app.keys), latestOf(ctx.req));
    activate(ctx, request);
    if (!earlier) {
      register(ctx.req, request);
      // Only what has to be waited for is: an await costs an untouched request as much as all the rest of this.
      const loading = request.preload();
      if (loading) await loading;
      else if (isInjected(ctx.req)) await nextTurn();
      for (const prologue of this.#prologues) {
        const responding = prologue(request, ctx);
        if (!responding || (await responding) !== true) continue;
        if (outer) activate(ctx, outer);
        return;
      }
    }

    let failure: { readonly error: unknown } | undefined;
    try {
      await next();
    } catch (error) {
      failure = { error };
    }
    if (outer) activate(ctx, outer);
    // Whatever the handler did is stored before anything of the response is sent, errors included.
    const storing = request.finish(failure);
    if (storing) await storing;
    if (failure) throw failure.error;
    if (request.isUsed && isStreamed(ctx)) request.watchStream();
  }

  /** The same middleware may run twice for a request; another one of the same name may not. */
  #earlierFor(req: IncomingMessage): SessionRequest | undefined {
    const { name } = this.settings;
    const earlier = requestOf(req, name);
    if (earlier && earlier.settings !== this.settings) throw new DuplicateMiddlewareError(name);
    return earlier;
  }

  /** Opens the session of a request that doesn't come through Koa. */
  async open(req: IncomingMessage, { response, app }: OpenOptions): Promise<Session> {
    const { secure, protocol } = protocolOf(req, app);
    const context: RequestContext = {
      req,
      res: response,
      secure,
      protocol,
      originalUrl: (req as { originalUrl?: string }).originalUrl ?? req.url ?? '/',
      app: app?.listenerCount('error') ? app : WARNINGS,
    };
    const request = new SessionRequest(context, this.settings, this.tokensFor(app?.keys));
    await request.preload();
    return request.session;
  }

  /** The session object of a request, or of a session such as one from `open`. */
  objectOf(of: Koa.Context | Session): SessionObject {
    const found = objectOf(of) ?? requestOf((of as Koa.Context).req, this.settings.name)?.use();
    if (found?.scope.settings !== this.settings) throw new MiddlewareOrderError();
    return found;
  }

  /** Tokens are signed with our `keys`, otherwise with Koa's `app.keys`, which may be set after the middleware is made. */
  tokensFor(appKeys: object | undefined): TokenStore {
    const { store, keys, lifetimes } = this.settings;
    const isSigned = !store.capabilities.seals && !keys && appKeys !== undefined;
    const owner = isSigned ? appKeys : this;
    let tokens = this.#tokens.get(owner);
    if (!tokens) {
      const signer = isSigned ? toSigner('app.keys', appKeys) : keys;
      const options = { ...this.settings, absoluteTimeout: lifetimes.absoluteTimeout, signer };
      tokens = store.capabilities.seals ? new SealedTokenStore(store, options) : new IdTokenStore(store, options);
      this.#tokens.set(owner, tokens);
    }
    return tokens;
  }
}

/** Where errors that nothing awaits are reported without an app that listens. */
const WARNINGS: RequestContext['app'] = { emit: (_event, error) => process.emitWarning(error as Error) };

/** Whether the response's body is sent when the middleware is done, so that the handler may still change the session. */
function isStreamed({ body, respond }: Koa.Context): boolean {
  if (respond === false) return true;
  if (typeof body !== 'object') return false; // the usual case; Node loads Response when it is first looked at
  return body instanceof Stream || body instanceof ReadableStream || body instanceof Response;
}

/** Whether no server of Node's sends the response, but a serverless adapter, or a test that calls the app. */
function isInjected({ socket }: IncomingMessage): boolean {
  return !(socket as { server?: unknown } | null)?.server;
}

/**
 * Adapters look at the response once their call of the app has returned, and take an `end` that is held for one that was
 * sent. By the next turn they listen for `finish`.
 */
function nextTurn(): Promise<void> {
  return new Promise((resolve) => process.nextTick(resolve));
}

/** How the request came, as Koa decides it. */
function protocolOf(request: IncomingMessage, app: OpenOptions['app']): { secure: boolean; protocol: string } {
  if (app) return app.createContext(request, new ServerResponse(request));
  const isEncrypted = (request.socket as TLSSocket).encrypted === true;
  return { secure: isEncrypted, protocol: isEncrypted ? 'https' : 'http' };
}
