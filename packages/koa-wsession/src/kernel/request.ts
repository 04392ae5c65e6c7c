import type { IncomingMessage, ServerResponse } from 'node:http';
import { inspect } from 'node:util';
import { InsecureError, PathError, SessionError } from '../errors.js';
import type { Awaitable } from '../store/store.js';
import type { Session, SessionContent } from '../types.js';
import { HeldResponse, type HeldSession } from './held-response.js';
import { type LifecycleHost, SessionLifecycle } from './lifecycle.js';
import type { Settings } from './options.js';
import { SessionObject, type SessionScope } from './session-object.js';
import { NO_RESPONSE, type TokenSink, UPGRADED } from './token-sink.js';
import { type Found, isPromise, Loaded, type TokenStore } from './token-store.js';
import { TokenWriter } from './token-writer.js';
import { type Arrival, isBelow, readTokens } from './transport.js';

/** What is needed of a request: of Koa's `ctx`, or of what stands in its place outside Koa. */
export interface RequestContext {
  readonly req: IncomingMessage;
  readonly res: ServerResponse | undefined;
  /** Whether the request came over https. */
  readonly secure: boolean;
  /** What a proxy says: `wss` is as secure (Traefik, for a WebSocket's upgrade). */
  readonly protocol: string;
  /** The path and query that the visitor asked for. */
  readonly originalUrl: string;
  readonly app: { emit(event: 'error', error: unknown, context: RequestContext): unknown };
  /** Koa's: `false` where something else responds. */
  readonly respond?: boolean | undefined;
  /** Responds with an error; Koa's own, or none outside Koa. */
  onerror?(error: Error | null | undefined): void;
}

interface Failure {
  readonly error: unknown;
}

/** One request's session, from its token to the response: loaded, given out when it is used first, stored. */
export class SessionRequest implements SessionScope, LifecycleHost, HeldSession {
  readonly settings: Settings;
  readonly tokens: TokenStore;
  /** The session, under another name, whose middleware ran for the request before. */
  readonly earlier: SessionRequest | undefined;
  readonly #context: RequestContext;
  /** Bytes that the socket had sent before this request. */
  readonly #sentBefore: number = 0;
  #arrival: Arrival | undefined;
  #lazyWriter: TokenWriter | undefined;
  #found: Found;
  /** Why it couldn't be loaded. */
  #failure: Failure | undefined;
  #object: SessionObject | undefined;
  #held: HeldResponse | undefined;
  /** The handler has looked at the session. */
  isUsed: boolean = false;
  #isJudged = false;
  #hasOwnHandler = false;
  #isErrored = false;
  /** The handler is done. */
  #isFinished = false;

  constructor(context: RequestContext, settings: Settings, tokens: TokenStore, earlier?: SessionRequest) {
    this.settings = settings;
    this.tokens = tokens;
    this.earlier = earlier;
    this.#context = context;
    if (isWebSocket(context.req)) this.#sentBefore = context.req.socket.bytesWritten;
  }

  /** Loads ahead of the handler, where the store has to be waited for. An outage concerns only requests that use the session. */
  preload(): Awaitable<void> {
    if (this.tokens.loadsAtOnce || !this.hasToken) return;
    try {
      const found = this.#find();
      if (!isPromise(found)) this.#found = found;
      else
        return found.then(
          (value) => {
            this.#found = value;
          },
          (error) => this.#failToLoad(error),
        );
    } catch (error) {
      this.#failToLoad(error);
    }
  }

  get session(): Session {
    return this.use().proxy;
  }

  set session(content: SessionContent | null) {
    const object = this.use();
    if (content === null) object.lifecycle.end();
    else object.replaceContent(content);
  }

  /** The session's object, which is about to be used. */
  use(): SessionObject {
    if (this.#object && this.isUsed) return this.#object;
    this.#admit();
    if (this.#failure && !this.#isSettled) {
      this.#beginResponse();
      throw this.#failure.error;
    }
    const object = this.open();
    this.isUsed = true;
    this.#beginResponse();
    if (this.#isSettled) object.lifecycle.watchForLateChanges();
    return object;
  }

  /** The same before the handler has used it. */
  open(): SessionObject {
    if (this.#object) return this.#object;
    if (this.tokens.loadsAtOnce && this.hasToken && !this.#failure) this.#found = this.#find() as Found;
    this.#admit();
    const lifecycle = new SessionLifecycle(this, this.#failure ? undefined : this.#found);
    this.#object = new SessionObject(lifecycle, this);
    return this.#object;
  }

  /** Asks the extension about the record, before the session is used first. */
  #admit(): void {
    const { extension } = this.settings;
    const found = this.#found;
    if (!extension || this.#isJudged || !(found instanceof Loaded)) return;
    this.#isJudged = true;
    const refusal = extension.admit(found, this);
    if (refusal instanceof SessionError) this.#failToLoad(refusal);
    else if (refusal) {
      this.#found = undefined;
      this.tokens.publish('rejected', found.key, { reason: refusal });
    }
  }

  /** Where the tokens lead, whatever the extension says about that. Throws what kept it from being loaded. */
  get found(): Found {
    if (this.#failure) throw this.#failure.error;
    return this.#found;
  }

  /** Works on the session ahead of the handler. What fails here concerns only requests that use the session. */
  async prepare<T>(work: (object: SessionObject) => T | Promise<T>): Promise<T | undefined> {
    try {
      return await work(this.open());
    } catch (error) {
      this.#failToLoad(error);
      this.#object = undefined;
      return undefined;
    }
  }

  /** Whether the session can be loaded and changed here. */
  get isOpen(): boolean {
    return !this.#failure && !this.blocked();
  }

  get req(): IncomingMessage {
    return this.#context.req;
  }

  get secure(): boolean {
    return this.#context.secure;
  }

  get res(): ServerResponse | undefined {
    return this.#context.res;
  }

  /** Sends a header line besides the token. */
  addHeader(name: string, value: string): void {
    this.#writer?.addHeader(name, value);
  }

  /** Stores what is to be stored. `failure`: what the handler threw. */
  finish(failure: Failure | undefined): Awaitable<void> {
    this.#isFinished = true;
    if (!this.isUsed || !this.#object || this.#isErrored) return;
    const { lifecycle } = this.#object;
    const held = this.#held?.released?.then(() => (this.#isErrored ? undefined : lifecycle.commit()));
    const storing = held ?? lifecycle.commit();
    return storing ? this.#settle(storing, failure) : this.#writer?.settle();
  }

  /** The response's body is sent while the handler may still change the session. */
  watchStream(): void {
    this.#context.res?.once('close', () => {
      // If the response was an error's, that error has said already what wasn't stored.
      if (!this.#isErrored) this.#object?.lifecycle.watchForLateChanges();
    });
  }

  async #settle(storing: Promise<void>, failure: Failure | undefined): Promise<void> {
    try {
      await storing;
    } catch (error) {
      // That nothing was stored comes first; the handler's own error must not be lost.
      if (failure && failure.error !== error) this.report(failure.error);
      throw error;
    }
    this.#writer?.settle();
  }

  /** Tells caches, and notices when Koa handles an error. */
  #beginResponse(): void {
    this.#writer?.begin();
    this.#noticeErrors();
  }

  /** From here on, no response is sent before the session is saved. */
  onMayDiffer(): void {
    const { res, onerror } = this.#context;
    if (res && onerror && !this.#isErrored) this.#held ??= new HeldResponse(res, this);
  }

  /** Whether something is to be stored before a response is sent. Changes after Koa's error handling are late. */
  isUnsaved(): boolean {
    return !this.#isErrored && this.#object?.lifecycle.isUnsaved === true;
  }

  ownsHeader(name: string): boolean {
    return this.settings.transports.some(({ responseHeader }) => responseHeader.toLowerCase() === name);
  }

  isUncommitted(): boolean {
    return this.isUnsaved() && this.#object?.lifecycle.isCommitted === false;
  }

  commit(): Awaitable<void> {
    return this.#object?.lifecycle.commit();
  }

  /** Responds with the error of a commit. */
  fail(error: unknown): void {
    this.#context.onerror?.(toError(error));
  }

  get hasToken(): boolean {
    return this.#sent.tokens.length > 0;
  }

  get sink(): TokenSink {
    if (this.#isUpgraded) return UPGRADED;
    return this.#writer ?? (this.#context.res ? UPGRADED : NO_RESPONSE);
  }

  isLate(): boolean {
    return this.#isSettled;
  }

  /** Outside Koa, nothing is stored by itself. */
  get commits(): boolean {
    return this.#context.onerror !== undefined;
  }

  /** From Koa's error handling on, nothing is stored any more; the headers that it removes come back. */
  #noticeErrors(): void {
    const { onerror } = this.#context;
    if (!onerror || this.#hasOwnHandler) return;
    this.#hasOwnHandler = true;
    const handle: typeof onerror = (error) => {
      const isCut = !this.#isFinished && this.#context.res?.socket?.writable === false;
      if (error) {
        if (this.#isUpgraded) return this.report(error); // an error page would garble the WebSocket
        // What isn't stored yet is stored before the error's response.
        this.#isErrored = this.#context.res?.headersSent === true || !this.isUnsaved();
        this.#writer?.markStripped();
      }
      onerror.call(this.#context, error);
      if (!isCut) return;
      this.#isErrored = false; // the client hung up: nothing was sent, and the handler goes on
      if (this.#failure) this.#object = undefined; // it was empty for the error's listeners alone
    };
    this.#context.onerror = handle;
  }

  #failToLoad(error: unknown): void {
    this.#failure = { error };
    this.#noticeErrors();
  }

  /** The tokens that were sent, and the way they came, which is the way back. */
  get #sent(): Arrival {
    this.#arrival ??= readTokens(this.settings.transports, this.#isInsecure ? undefined : this.#context.req);
    return this.#arrival;
  }

  get #writer(): TokenWriter | undefined {
    const { res, req, onerror } = this.#context;
    // For an upgrade, libraries make a context with a response of its own, which has no socket.
    const isUpgraded = onerror && (req as { upgrade?: boolean }).upgrade && res?.socket === null;
    if (res && !isUpgraded) this.#lazyWriter ??= new TokenWriter(res, this.#sent.transport, this.settings.vary);
    return this.#lazyWriter;
  }

  #find(): Awaitable<Found> {
    const { transport, tokens } = this.#sent;
    return this.tokens.find(tokens, transport.limit - transport.overhead);
  }

  /** The response is out, or Koa's error handling is at it. */
  get #isSettled(): boolean {
    return this.#isErrored || this.#context.res?.headersSent === true || this.#isUpgraded;
  }

  /** The connection became a WebSocket in a handler, past Node's response. */
  get #isUpgraded(): boolean {
    const { respond, req, res } = this.#context;
    if (respond !== false || !isWebSocket(req) || res?.headersSent !== false) return false;
    // Where the server takes no upgrades, the header says nothing: a handshake was sent if the socket sent anything.
    return (req as { upgrade?: boolean }).upgrade === true || req.socket.bytesWritten > this.#sentBefore;
  }

  get #isInsecure(): boolean {
    return this.settings.store.secure && !this.#context.secure && this.#context.protocol !== 'wss';
  }

  /** Why this request may not change the session, if so. */
  blocked(): SessionError | undefined {
    if (this.#isInsecure) return new InsecureError();
    const { path = '/' } = this.#sent.transport;
    // A proxy may have taken the path away; a visitor that sends the cookie is inside it.
    return this.hasToken || isBelow(path, this.#context.originalUrl) ? undefined : new PathError(path);
  }

  /** An `error` event of the app. A listener that throws must not end the process. */
  report(error: unknown): void {
    try {
      this.#context.app.emit('error', toError(error), this.#context);
    } catch (thrown) {
      process.emitWarning(toError(thrown));
    }
  }
}

function isWebSocket({ headers }: IncomingMessage): boolean {
  return headers.upgrade !== undefined && headers.upgrade.toLowerCase() === 'websocket';
}

function toError(error: unknown): Error {
  return error instanceof Error ? error : new Error(`non-error thrown: ${inspect(error)}`);
}
