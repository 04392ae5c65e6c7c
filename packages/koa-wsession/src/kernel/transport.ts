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
