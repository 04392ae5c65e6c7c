import type { IncomingMessage } from 'node:http';
import { checkOption, isToken } from '../store/options.js';

/**
 * How a token travels between the app and the visitor. A cookie is one way (`'cookie'`, the default), a header
 * of your own another ({@link headerTransport}, for clients other than browsers). It knows headers, and no session.
 */
export interface Transport {
  /** The request header that it reads: responses that depend on the session name it in `Vary`. */
  readonly requestHeader: string;
  /** The response header that it writes, next to others of that name. */
  readonly responseHeader: string;
  /** The part of a request's path below which the visitor sends the token; none: everywhere. */
  readonly path?: string;
  /** Bytes that arrive for sure, and how many of them the transport itself takes besides the token. */
  readonly limit: number;
  readonly overhead: number;
  /** The tokens of a request, the likeliest first; `undefined` where the request doesn't use this transport at all. */
  read(request: IncomingMessage): string[] | undefined;
  /** The header's value that gives the visitor a token, for so many seconds; `undefined`: until the browser is closed. */
  write(token: string, maxAge: number | undefined): string;
  /** The header's value that has the visitor forget the token. */
  clear(): string;
  /** Whether a value of the response header is about the same token, such as one that a middleware rewrote. */
  isOwn?(value: string): boolean;
}

/**
 * Tokens in a header of the request and of the response, such as `x-session`, for native apps and other clients that
 * keep no cookies: they send back what they got last, and an empty header to begin with. An empty value in a response
 * means that the session ended.
 *
 * Next to a cookie: `transport: [headerTransport('x-session'), 'cookie']`. The response uses the first transport
 * present in the request, otherwise the last one.
 */
export function headerTransport(header: string): Transport {
  checkOption('headerTransport(header)', header, isToken, 'a header name such as x-session');
  const name = header.toLowerCase();
  return {
    requestHeader: header,
    responseHeader: header,
    limit: MAX_HEADER_TOKEN,
    overhead: 0,
    read(request) {
      const value = request.headers[name];
      if (value === undefined) return undefined;
      return value === '' ? [] : [String(value)];
    },
    write: (token) => token,
    clear: () => '',
  };
}

/** Half of what Node accepts for all headers of a request by default. */
const MAX_HEADER_TOKEN = 8192;

/** The tokens of a request, and their transport. */
export class Arrival {
  readonly transport: Transport;
  readonly tokens: readonly string[];

  constructor(transport: Transport, tokens: readonly string[]) {
    this.transport = transport;
    this.tokens = tokens;
  }
}

/** Of the first transport that the request uses; otherwise none, for the last. */
export function readTokens(transports: readonly Transport[], request: IncomingMessage | undefined): Arrival {
  for (const transport of request ? transports : []) {
    const tokens = transport.read(request as IncomingMessage);
    if (tokens) return new Arrival(transport, tokens);
  }
  return new Arrival(transports[transports.length - 1] as Transport, []);
}

/** What browsers keep of one cookie: bytes of name and value together, and of one attribute's value (RFC 6265bis 5.6). */
const MAX_COOKIE_BYTES = 4096;
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

/** Tokens in a cookie. */
export function cookieTransport(name: string, attributes: CookieAttributes): Transport {
  const suffix = serializeAttributes(attributes);
  const start = `${name}=`;
  return {
    requestHeader: 'Cookie',
    responseHeader: 'Set-Cookie',
    path: attributes.path,
    limit: MAX_COOKIE_BYTES,
    overhead: name.length,
    read({ headers: { cookie } }: IncomingMessage) {
      const tokens = cookie === undefined ? [] : readCookies(cookie, name);
      return tokens.length === 0 ? undefined : tokens;
    },
    write: (token, maxAge) => `${start}${token}${maxAge === undefined ? '' : `; Max-Age=${maxAge}`}${suffix}`,
    clear: () => deletionOf(name, suffix),
    isOwn: (line) => line.startsWith(start),
  };
}

/** The Set-Cookie line that deletes a cookie; `suffix` has to name the path and the domain that it was set with. */
export function deletionOf(name: string, suffix: string): string {
  return `${name}=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT${suffix}`;
}

/** The values of a Cookie header's cookies of this name, in the order sent. */
export function readCookies(header: string, name: string): string[] {
  const values: string[] = [];
  for (let at = header.indexOf(name); at >= 0 && values.length < MAX_CANDIDATES; at = header.indexOf(name, at + 1)) {
    if (header[at + name.length] !== '=' || !beginsPair(header, at)) continue;
    const end = header.indexOf(';', at);
    values.push(unquote(header.slice(at + name.length + 1, end < 0 ? undefined : end).trim()));
  }
  return values;
}

/** A value may stand in double quotes (RFC 6265, 4.1.1), as Java's clients send it. */
function unquote(value: string): string {
  return value.length > 1 && value.startsWith('"') && value.endsWith('"') ? value.slice(1, -1) : value;
}

function beginsPair(header: string, at: number): boolean {
  if (at === 0) return true;
  let before = at - 1;
  while (header[before] === ' ' || header[before] === '\t') before--;
  return before < 0 || header[before] === ';';
}

/** The part of a Set-Cookie line that is the same each time. */
function serializeAttributes(attributes: CookieAttributes): string {
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

/** Whether a browser would send a cookie of this path (RFC 6265, 5.1.4). */
export function isBelow(path: string, url: string): boolean {
  if (path === '/') return true;
  // A request's target may be a whole URL (RFC 9112, 3.2.2).
  const asked = url.replace(/^[a-z][a-z\d+.-]*:\/\/[^/?#]*/i, '').split(/[?#]/, 1)[0] as string;
  return asked === path || asked.startsWith(path.endsWith('/') ? path : `${path}/`);
}
