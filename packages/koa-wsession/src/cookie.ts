import type { IncomingMessage, ServerResponse } from 'node:http';
import { CookieSizeError } from './errors.js';

/** What browsers keep of one cookie: bytes of name and value together, and of one attribute's value (RFC 6265bis 5.6). */
export const MAX_COOKIE_BYTES = 4096;
export const MAX_ATTRIBUTE_BYTES = 1024;

/** Cookies of one name that are tried: a browser sends several when they were set on different paths or domains. */
const MAX_CANDIDATES = 8;

export interface CookieAttributes {
  readonly path: string;
  readonly domain: string | undefined;
  readonly secure: boolean;
  readonly httpOnly: boolean;
  readonly sameSite: 'strict' | 'lax' | 'none';
  readonly partitioned: boolean;
  readonly priority: 'low' | 'medium' | 'high' | undefined;
}

/** The values of the request's cookies of this name, in the order sent. Those that no browser would keep don't count. */
export function readCookies(request: IncomingMessage, name: string): string[] {
  const header = request.headers.cookie;
  const values: string[] = [];
  if (header === undefined) return values;
  for (
    let at = header.indexOf(name);
    at >= 0 && values.length < MAX_CANDIDATES;
    at = header.indexOf(name, at + 1)
  ) {
    if (header[at + name.length] !== '=' || !beginsPair(header, at)) continue;
    const end = header.indexOf(';', at);
    const value = header.slice(at + name.length + 1, end < 0 ? undefined : end).trim();
    if (name.length + value.length <= MAX_COOKIE_BYTES) values.push(value);
  }
  return values;
}

function beginsPair(header: string, at: number): boolean {
  let before = at - 1;
  while (header[before] === ' ' || header[before] === '\t') before--;
  return before < 0 || header[before] === ';';
}

/**
 * Puts the session's cookie on one response. It survives errors: Koa strips every header when it answers one, and
 * so our headers are put back at the last moment, when the response ends.
 */
export class CookieWriter {
  readonly #response: ServerResponse;
  readonly #name: string;
  readonly #attributes: string;
  #line: string | undefined;
  #guarded = false;

  /** `attributes` as {@link serializeAttributes} gives them. */
  constructor(response: ServerResponse, name: string, attributes: string) {
    this.#response = response;
    this.#name = name;
    this.#attributes = attributes;
  }

  /** Whether the headers are still to be sent. */
  get open(): boolean {
    return !this.#response.headersSent;
  }

  /** `sizes` are the session's keys with their bytes, asked for when the cookie is too large. */
  set(
    value: string,
    maxAge: number,
    sizes: () => ReadonlyArray<readonly [key: string, bytes: number]>,
  ): void {
    const bytes = this.#name.length + value.length;
    if (bytes > MAX_COOKIE_BYTES) throw new CookieSizeError(bytes, MAX_COOKIE_BYTES, sizes());
    this.#put(`${this.#name}=${value}; Max-Age=${maxAge}${this.#attributes}`);
  }

  /** Has the browser delete the cookie. */
  clear(): void {
    this.#put(`${this.#name}=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT${this.#attributes}`);
  }

  /** Takes back what this response was going to do to the cookie. */
  retract(): void {
    if (this.#line !== undefined && this.open) this.#put(undefined);
  }

  #put(line: string | undefined): void {
    const others = setCookies(this.#response).filter((other) => other !== this.#line);
    this.#line = line;
    if (line !== undefined) others.push(line);
    if (others.length > 0) this.#response.setHeader('Set-Cookie', others);
    else this.#response.removeHeader('Set-Cookie');
    if (line === undefined) return;
    if (!this.#response.hasHeader('Cache-Control')) this.#response.setHeader('Cache-Control', 'no-store');
    this.#guard();
  }

  #guard(): void {
    if (this.#guarded) return;
    this.#guarded = true;
    const response = this.#response;
    const { end } = response;
    response.end = ((...args: Parameters<typeof end>) => {
      response.end = end;
      if (this.#line !== undefined && this.open && !setCookies(response).includes(this.#line)) {
        addVary(response);
        this.#put(this.#line);
      }
      return end.apply(response, args);
    }) as typeof end;
  }
}

/** Says that the response depends on the cookie, for caches. */
export function addVary(response: ServerResponse): void {
  if (response.headersSent) return;
  const vary = response.getHeader('Vary');
  if (vary === undefined) response.setHeader('Vary', 'Cookie');
  else if (!/(^|,)\s*(cookie|\*)\s*(,|$)/i.test(String(vary))) response.setHeader('Vary', `${vary}, Cookie`);
}

function setCookies(response: ServerResponse): string[] {
  const header = response.getHeader('Set-Cookie');
  return header === undefined ? [] : Array.isArray(header) ? header : [String(header)];
}

/** The part of a Set-Cookie line that is the same each time. */
export function serializeAttributes(attributes: CookieAttributes): string {
  const { path, domain, secure, httpOnly, sameSite, partitioned, priority } = attributes;
  let text = `; Path=${path}`;
  if (domain !== undefined) text += `; Domain=${domain}`;
  if (secure) text += '; Secure';
  if (httpOnly) text += '; HttpOnly';
  text += `; SameSite=${capitalize(sameSite)}`;
  if (partitioned) text += '; Partitioned';
  if (priority !== undefined) text += `; Priority=${capitalize(priority)}`;
  return text;
}

function capitalize(word: string): string {
  return word.charAt(0).toUpperCase() + word.slice(1);
}
