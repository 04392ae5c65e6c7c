import type { IncomingMessage } from 'node:http';
import { check, isToken } from './check.js';

/**
 * How a token travels between us and the visitor. A cookie is one way (`'cookie'`, the default), a header
 * of one's own another ({@link headerTransport}, for apps that are no browser). It knows headers, and no session.
 */
export interface Transport {
  /** The request header that it reads: responses that depend on the session name it in `Vary`. */
  readonly requestHeader: string;
  /** The response header that it writes, beside others of that name. */
  readonly responseHeader: string;
  /** Bytes that arrive for sure, and how many of them the transport itself takes beside the token. */
  readonly limit: number;
  readonly overhead: number;
  /** The tokens of a request, the likeliest first; `undefined` where the request doesn't use this transport at all. */
  read(request: IncomingMessage): string[] | undefined;
  /** The header's value that gives the visitor a token, for so many seconds. */
  write(token: string, maxAge: number): string;
  /** The header's value that has the visitor forget the token. */
  clear(): string;
}

/**
 * Tokens in a header of the request and of the response, such as `x-session`, for native apps and other clients that
 * keep no cookies: they send back what they got last, and nothing (an empty header) to begin with. An empty value in a
 * response means that the session ended.
 *
 * Beside a cookie: `transport: [headerTransport('x-session'), 'cookie']`. The first that a request uses is the one, and
 * the response uses no other; a request that uses none gets the last.
 */
export function headerTransport(header: string): Transport {
  check('headerTransport(header)', header, isToken, 'a header name such as x-session');
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

/** Half of what Node takes for all headers of a request by default. */
const MAX_HEADER_TOKEN = 8192;
