import type { ServerResponse } from 'node:http';
import { CookieSizeError, LateError, NoResponseError, type SessionError } from './errors.js';
import type { Transport } from './transport.js';

/** What stands between a session and its visitor. The session decides what to hand over, and knows no response. */
export interface Carrier {
  /** Why the visitor can't be handed a token (any more); `undefined` while he can. */
  refusal(keys: readonly string[]): SessionError | undefined;
  /** `maxAge` in seconds. Throws a CookieSizeError, for which it asks `sizes`. */
  set(token: string, maxAge: number, sizes: () => ReadonlyArray<readonly [key: string, bytes: number]>): void;
  clear(): void;
  /** Takes back what was set or cleared. */
  retract(): void;
}

/** For a session that was opened without a response. */
export const NO_RESPONSE: Carrier = {
  refusal: (keys) => new NoResponseError(keys),
  set: () => undefined,
  clear: () => undefined,
  retract: () => undefined,
};

/**
 * Hands tokens over in a response's headers, and says what the response depends on. Koa strips every header when it
 * answers an error, and a handler may set one of its own over ours: so they are put back when the session is stored, and
 * at the last moment, when the response ends.
 */
export class ResponseCarrier implements Carrier {
  readonly #response: ServerResponse;
  readonly #transport: Transport;
  /** The request's headers that the session was looked for in. */
  readonly #vary: readonly string[];
  #value: string | undefined;
  /** Cookies that go out beside the token. */
  readonly #kept: string[] = [];

  constructor(response: ServerResponse, transport: Transport, vary: readonly string[]) {
    this.#response = response;
    this.#transport = transport;
    this.#vary = vary;
  }

  /** The session is used from here on. */
  begin(): void {
    this.restore();
    const response = this.#response;
    const { end } = response;
    response.end = ((...args: Parameters<typeof end>) => {
      response.end = end;
      this.restore();
      return end.apply(response, args);
    }) as typeof end;
  }

  /** Sends a cookie beside the token. */
  keep(cookie: string): void {
    this.#kept.push(cookie);
    this.restore();
  }

  /** Puts our headers where they are missing. */
  restore(): void {
    if (this.#response.headersSent) return;
    for (const header of this.#vary) addVary(this.#response, header);
    if (this.#value !== undefined && !this.#current().includes(this.#value)) this.#put(this.#value);
    for (const cookie of this.#kept) {
      const present = this.#current('Set-Cookie');
      if (!present.includes(cookie)) this.#response.setHeader('Set-Cookie', [...present, cookie]);
    }
  }

  refusal(keys: readonly string[]): SessionError | undefined {
    return this.#response.headersSent ? new LateError(keys) : undefined;
  }

  set(
    token: string,
    maxAge: number,
    sizes: () => ReadonlyArray<readonly [key: string, bytes: number]>,
  ): void {
    const { requestHeader, limit, overhead } = this.#transport;
    const bytes = token.length + overhead;
    if (bytes > limit) throw new CookieSizeError(bytes, limit, sizes(), requestHeader);
    this.#put(this.#transport.write(token, maxAge));
  }

  clear(): void {
    this.#put(this.#transport.clear());
  }

  retract(): void {
    if (this.#value !== undefined && !this.#response.headersSent) this.#put(undefined);
  }

  #put(value: string | undefined): void {
    const { responseHeader } = this.#transport;
    const others = this.#current().filter((other) => other !== this.#value);
    this.#value = value;
    if (value !== undefined) others.push(value);
    if (others.length > 0) this.#response.setHeader(responseHeader, others);
    else this.#response.removeHeader(responseHeader);
    if (value !== undefined && !this.#response.hasHeader('Cache-Control')) {
      this.#response.setHeader('Cache-Control', 'no-store');
    }
  }

  #current(header: string = this.#transport.responseHeader): string[] {
    const value = this.#response.getHeader(header);
    return value === undefined ? [] : Array.isArray(value) ? value : [String(value)];
  }
}

/** Says that the response depends on the request's header, for caches. */
function addVary(response: ServerResponse, header: string): void {
  const vary = response.getHeader('Vary');
  if (vary === undefined) {
    response.setHeader('Vary', header);
    return;
  }
  if (vary === header) return;
  const names = String(vary)
    .toLowerCase()
    .split(/\s*,\s*/);
  if (!names.includes('*') && !names.includes(header.toLowerCase()))
    response.setHeader('Vary', `${vary}, ${header}`);
}
