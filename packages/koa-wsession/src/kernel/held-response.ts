import type { OutgoingHttpHeader, ServerResponse } from 'node:http';

/** What a {@link HeldResponse} asks of the session. */
export interface HeldSession {
  /** Whether something is to be stored before the response is sent. */
  isUnsaved(): boolean;
  /** The same for a response whose headers are out: until the first commit. Changes after that are late. */
  isUncommitted(): boolean;
  /** Whether it sends its token in this response header (lower case). */
  ownsHeader(name: string): boolean;
  commit(): Promise<void> | void;
  /** Responds with the error of a commit, now that the response is free again. */
  fail(error: unknown): void;
}

/** Whether a method of Node's own runs: for all sessions of a response, the first of which calls it. */
const IS_SENDING: unique symbol = Symbol('koa-wsession sending');

type Response = ServerResponse & {
  [IS_SENDING]?: boolean;
  /** HTTP/1: sends the head for a `write` or an `end` without one. */
  _implicitHeader?: () => void;
};

/**
 * No response is sent before its session is saved: from the first `writeHead`, `write`, `flushHeaders` or `end` of an
 * unsaved session, the calls are queued until it is saved. If that fails, they are dropped, and the response is the
 * error's. Once the headers are out, only `end` is held, and sent in any case.
 */
export class HeldResponse {
  readonly #response: Response;
  readonly #session: HeldSession;
  readonly #isFirst: boolean;
  #calls: HeldCall[] | undefined;
  /** The response's head when the first call was held. */
  #head: Head | undefined;
  #released: Promise<void> | undefined;
  #owesDrain = false;
  #isRunning = false;
  /** The response was the error's: what others still write is ignored. */
  #dropped: { readonly error: unknown } | undefined;

  constructor(response: Response, session: HeldSession) {
    this.#response = response;
    this.#session = session;
    this.#isFirst = response[IS_SENDING] === undefined;
    if (this.#isFirst) response[IS_SENDING] = false;
    const { writeHead, write, flushHeaders, end, _implicitHeader } = response;
    // None is written right where it is assigned, since V8 would keep the whole request (see .build/structure.mjs).
    const hook =
      <T>(method: (...args: never) => T, held: T) =>
      (...args: unknown[]): T =>
        this.#call(method, args, held);
    const hookedEnd = (...args: unknown[]): Response => {
      const result = this.#call(end, args, response, response.headersSent && this.#session.isUncommitted());
      if (this.#calls) this.#pretendEnded();
      return result;
    };
    response.writeHead = hook(writeHead, response);
    response.write = hook(write, false);
    response.flushHeaders = hook(flushHeaders, undefined);
    response.end = hookedEnd;
    // Also where others call Node's own `write` or `end`, which they took from the response before: the body follows.
    if (_implicitHeader) {
      const sendHeader = (): void => this.#run(_implicitHeader, []);
      response._implicitHeader = sendHeader;
    }
  }

  /** Resolves once no call is held any more. */
  get released(): Promise<void> | undefined {
    return this.#released;
  }

  /** Calls the response's own method; or holds the call until the session is saved, and returns `held` in its place. */
  #call<T>(method: (...args: never) => T, args: unknown[], held: T, isLate = false): T {
    const response = this.#response;
    if (this.#isRunning || response[IS_SENDING]) return method.apply(response, args as never); // Node's `end` calls `writeHead`
    // As after an `end` that was sent, but for the `error` event: the response may still fail for another reason.
    if (this.#unpretend || (this.#dropped && response.writableEnded)) {
      callBack(args, this.#dropped?.error ?? new Error('write after end'));
      return held;
    }
    if (!this.#calls && (response.headersSent ? !isLate : !this.#session.isUnsaved())) return this.#run(method, args);
    this.#calls ??= [];
    this.#head ??= new Head(response, (name) => this.#session.ownsHeader(name));
    this.#released ??= this.#save();
    this.#calls.push({ run: () => this.#run(method, args), args });
    if (held === false) this.#owesDrain = true;
    return held;
  }

  #run<T>(method: (...args: never) => T, args: unknown[]): T {
    const response = this.#response;
    const { [IS_SENDING]: wasSending = false } = response;
    const wasRunning = this.#isRunning;
    this.#isRunning = true;
    if (this.#isFirst) response[IS_SENDING] = true;
    try {
      return method.apply(response, args as never);
    } finally {
      this.#isRunning = wasRunning;
      response[IS_SENDING] = wasSending;
    }
  }

  async #save(): Promise<void> {
    try {
      do await this.#session.commit();
      while (this.#session.isUnsaved()); // the handler went on meanwhile
      this.#replay();
    } catch (error) {
      if (this.#response.headersSent) {
        this.#session.fail(error);
        if (this.#calls) this.#replay();
        else this.#response.destroy(); // one of the calls itself is wrong, in the middle of the response
        return;
      }
      const calls = this.#release();
      this.#dropped = { error };
      this.#session.fail(error);
      for (const { args } of calls) callBack(args, error);
    }
  }

  #replay(): void {
    const head = this.#head;
    const calls = this.#release();
    head?.restore();
    let last: unknown;
    for (const { run } of calls) last = run();
    if (this.#owesDrain && last !== false && !this.#response.writableEnded) this.#response.emit('drain');
    this.#owesDrain = false;
  }

  #release(): HeldCall[] {
    const calls = this.#calls ?? [];
    this.#calls = undefined;
    this.#head = undefined;
    this.#released = undefined;
    this.#unpretend?.();
    return calls;
  }

  #unpretend: (() => void) | undefined;

  /** While an `end` is held, the response is over for everybody else. */
  #pretendEnded(): void {
    const response = this.#response;
    if (this.#unpretend) return;
    const finished = Object.getOwnPropertyDescriptor(response, 'finished');
    for (const property of ['writableEnded', 'finished'])
      Object.defineProperty(response, property, {
        configurable: true,
        get: () => true,
        set: () => undefined,
      });
    const unpretend = (): void => {
      this.#unpretend = undefined;
      Reflect.deleteProperty(response, 'writableEnded');
      Reflect.deleteProperty(response, 'finished');
      if (finished) Object.defineProperty(response, 'finished', finished);
    };
    this.#unpretend = unpretend;
  }
}

/** Headers that the session changes, or looks at again when they are written. */
const SESSION_HEADERS: ReadonlySet<string> = new Set(['set-cookie', 'vary', 'cache-control']);

/** Headers that are about the body. */
const BODY_HEADERS = /^(?:content-|transfer-encoding$)/;

/** A response's head as the first call would have sent it: what an error handler sets or removes afterwards is too late. */
class Head {
  readonly #response: ServerResponse;
  readonly #ownsHeader: (name: string) => boolean;
  readonly #status: number;
  readonly #headers: Map<string, OutgoingHttpHeader>;

  constructor(response: ServerResponse, ownsHeader: (name: string) => boolean) {
    this.#response = response;
    this.#ownsHeader = ownsHeader;
    this.#status = response.statusCode;
    this.#headers = new Map(Object.entries(response.getHeaders()) as Array<[string, OutgoingHttpHeader]>);
  }

  restore(): void {
    const response = this.#response;
    if (response.headersSent) return;
    response.statusCode = this.#status;
    for (const name of response.getHeaderNames())
      if (BODY_HEADERS.test(name) && !this.#headers.has(name)) response.removeHeader(name);
    for (const [name, value] of this.#headers) {
      const isLost = !response.hasHeader(name) || BODY_HEADERS.test(name);
      if (isLost && !SESSION_HEADERS.has(name) && !this.#ownsHeader(name)) response.setHeader(name, value);
    }
  }
}

interface HeldCall {
  run(): unknown;
  readonly args: readonly unknown[];
}

/** Calls the callback of a call that comes to nothing, so that nothing waits for it in vain. */
function callBack(args: readonly unknown[], error: unknown): void {
  const callback = args.at(-1);
  if (typeof callback === 'function') process.nextTick(callback as (error: unknown) => void, error);
}
