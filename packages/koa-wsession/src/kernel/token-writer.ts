import type { OutgoingHttpHeader, OutgoingHttpHeaders, ServerResponse } from 'node:http';
import { CookieSizeError, LateError, type SessionError } from '../errors.js';
import type { TokenSink } from './token-sink.js';
import type { Transport } from './transport.js';

/**
 * Puts the token into a response's headers, and says what the response depends on. Headers are set when the session is
 * stored, and looked at again in `writeHead`: others may have set, overwritten or removed headers since.
 */
export class TokenWriter implements TokenSink {
  readonly #response: ServerResponse;
  readonly #transport: Transport;
  /** The request's headers that the session was looked for in. */
  readonly #vary: readonly string[];
  /** Our value of the transport's header. */
  #value: string | undefined;
  /** The header's other values when ours was last seen among them. */
  #others: readonly string[] = [];
  /** Header lines that are sent besides the token. */
  readonly #lines: Array<readonly [name: string, value: string]> = [];
  #isStripped = false;
  #isBegun = false;

  constructor(response: ServerResponse, transport: Transport, vary: readonly string[]) {
    this.#response = response;
    this.#transport = transport;
    this.#vary = vary;
  }

  /** The response depends on the session from here on. */
  begin(): void {
    const response = this.#response;
    if (response.headersSent || this.#isBegun) return;
    this.#isBegun = true;
    this.#addVary();
    const { writeHead } = response;
    const hooked = (status: number, ...args: unknown[]): ServerResponse => {
      if (response.headersSent) return writeHead.call(response, status, ...(args as []));
      const reason = typeof args[0] === 'string' ? args[0] : undefined;
      setHeaders(response, (args[1] ?? (reason === undefined ? args[0] : undefined)) as HeaderArguments);
      this.#lookAgain();
      return writeHead.apply(response, (reason === undefined ? [status] : [status, reason]) as [number]);
    };
    response.writeHead = hooked;
  }

  refusal(keys: readonly string[]): SessionError | undefined {
    return this.#response.headersSent ? new LateError(keys) : undefined;
  }

  assertFits(token: string, sizes: () => ReadonlyArray<readonly [key: string, bytes: number]>): void {
    const { requestHeader, limit, overhead } = this.#transport;
    const bytes = token.length + overhead;
    if (bytes > limit) throw new CookieSizeError(bytes, limit, sizes(), requestHeader);
  }

  write(token: string, maxAge: number | undefined): void {
    this.#put(this.#transport.write(token, maxAge));
  }

  clear(): void {
    this.#put(this.#transport.clear());
  }

  retract(): void {
    if (this.#value !== undefined && !this.#response.headersSent) this.#put(undefined);
  }

  /** Sends a header line besides the token. */
  addHeader(name: string, value: string): void {
    if (this.#response.headersSent) return;
    this.#lines.push([name, value]);
    this.#append(name, value);
  }

  /** Notes which other values stand next to ours: what is removed from now on is removed on purpose. */
  settle(): void {
    if (this.#value === undefined) return;
    const values = this.#current();
    if (values.includes(this.#value)) this.#others = values.filter((value) => value !== this.#value);
  }

  /** The headers are about to be removed wholesale, as Koa does for an error. */
  markStripped(): void {
    this.#isStripped = true;
  }

  #put(value: string | undefined): void {
    if (this.#response.headersSent) return;
    const { responseHeader } = this.#transport;
    const others = this.#current().filter((other) => other !== this.#value);
    this.#others = others;
    this.#value = value;
    if (value !== undefined) {
      this.#response.setHeader(responseHeader, [...others, value]);
      if (!this.#response.hasHeader('Cache-Control')) this.#response.setHeader('Cache-Control', 'no-store');
    } else if (others.length > 0) this.#response.setHeader(responseHeader, others);
    else this.#response.removeHeader(responseHeader);
  }

  /** The last look, when the headers are written. */
  #lookAgain(): void {
    const value = this.#value;
    const isMissing = value !== undefined && this.#isMissing(value);
    this.#addVary();
    if (isMissing) this.#append(this.#transport.responseHeader, value);
    if (this.#isStripped)
      for (const [name, line] of this.#lines) if (!this.#current(name).includes(line)) this.#append(name, line);
    if (value !== undefined && this.#carries(value)) makePrivate(this.#response);
  }

  /** Whether the token is among the headers, as we wrote it or as somebody rewrote it. */
  #carries(value: string): boolean {
    const values = this.#current();
    return values.includes(value) || values.some((one) => this.#transport.isOwn?.(one));
  }

  /** Whether our value is missing by mistake. One that was removed or rewritten on purpose stays so. */
  #isMissing(value: string): boolean {
    if (this.#carries(value)) return false;
    const values = this.#current();
    if (this.#isStripped) return true;
    if (values.length === 0) return !this.#response.hasHeader(this.#transport.responseHeader) && !this.#hasVary();
    // Others that came or changed have overwritten ours; if they are as they were, only ours was removed.
    return values.length !== this.#others.length || values.some((one, i) => one !== this.#others[i]);
  }

  #append(header: string, value: string): void {
    this.#response.setHeader(header, [...this.#current(header), value]);
  }

  #current(header: string = this.#transport.responseHeader): string[] {
    const value = this.#response.getHeader(header);
    return value === undefined ? [] : Array.isArray(value) ? value : [String(value)];
  }

  #hasVary(): boolean {
    const names = varied(this.#response);
    return names.includes('*') || this.#vary.every((header) => names.includes(header.toLowerCase()));
  }

  /** Says for caches which of the request's headers the response depends on. */
  #addVary(): void {
    for (const header of this.#vary) {
      const vary = this.#response.getHeader('Vary');
      if (vary === undefined) this.#response.setHeader('Vary', header);
      else if (vary !== header) {
        const names = varied(this.#response);
        if (!names.includes('*') && !names.includes(header.toLowerCase()))
          this.#response.setHeader('Vary', `${vary}, ${header}`);
      }
    }
  }
}

function varied(response: ServerResponse): string[] {
  return String(response.getHeader('Vary') ?? '')
    .toLowerCase()
    .split(/\s*,\s*/);
}

/** `writeHead`'s headers: an object, a flat list of names and values, or (undocumented) a list of pairs. */
type HeaderArguments = OutgoingHttpHeaders | OutgoingHttpHeader[] | Array<[string, OutgoingHttpHeader]> | undefined;

/** Sets `writeHead`'s headers beforehand: headers that are set inside `writeHead` lose against its arguments. */
function setHeaders(response: ServerResponse, headers: HeaderArguments): void {
  if (!headers) return;
  const byName = new Map<string, { name: string; values: OutgoingHttpHeader[] }>();
  for (const [name, value] of pairsOf(headers)) {
    const key = name.toLowerCase();
    const known = byName.get(key) ?? { name, values: [] };
    known.values.push(value);
    byName.set(key, known);
  }
  for (const { name, values } of byName.values())
    response.setHeader(name, values.length === 1 ? (values[0] as string) : (values.flat() as string[]));
}

function pairsOf(headers: NonNullable<HeaderArguments>): Array<[string, OutgoingHttpHeader]> {
  if (!Array.isArray(headers))
    return Object.entries(headers).filter(([, value]) => value !== undefined) as Array<[string, OutgoingHttpHeader]>;
  if (Array.isArray(headers[0])) return headers as Array<[string, OutgoingHttpHeader]>;
  const flat = headers as OutgoingHttpHeader[];
  return flat.flatMap((name, at) => (at % 2 === 0 ? [[String(name), flat[at + 1] as OutgoingHttpHeader]] : []));
}

/** Headers that instruct a CDN or a proxy besides `Cache-Control` (RFC 9213, and what vendors made of it). */
const CDN_HEADERS: ReadonlySet<string> = new Set([
  'cdn-cache-control',
  'cloudflare-cdn-cache-control',
  'netlify-cdn-cache-control',
  'vercel-cdn-cache-control',
  'surrogate-control',
  'x-accel-expires',
]);

/** A response that carries a token is for one visitor: no shared cache may keep it, whatever the app set. */
function makePrivate(response: ServerResponse): void {
  for (const header of response.getHeaderNames()) if (CDN_HEADERS.has(header)) response.removeHeader(header);
  const control = String(response.getHeader('Cache-Control') ?? '');
  if (control === 'no-store') return;
  const directives = control.split(/\s*,\s*/).filter((directive) => directive !== '');
  if (directives.length === 0) response.setHeader('Cache-Control', 'no-store');
  else if (!directives.some((directive) => /^(?:private|no-store)$/i.test(directive))) {
    const own = directives.filter((directive) => !/^(?:public$|s-maxage\b)/i.test(directive));
    response.setHeader('Cache-Control', [...own, 'private'].join(', '));
  }
}
