import {
  createServer,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type RequestListener,
  request,
} from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Served {
  /** `http://127.0.0.1:<port>`, without a slash at the end. */
  readonly url: string;
  readonly port: number;
  /** Stops listening and destroys the open connections. */
  close(): Promise<void>;
}

/** Serves a Koa application, or a bare listener, on a random port of 127.0.0.1. */
export async function serve(app: { callback(): RequestListener } | RequestListener): Promise<Served> {
  const server = createServer(typeof app === 'function' ? app : app.callback());
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    close() {
      return new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      });
    },
  };
}

export interface RequestInit {
  /** A `cookie` header here is sent as it is, in place of the jar. */
  headers?: OutgoingHttpHeaders;
  body?: string | Uint8Array;
  /** Sent as application/json. */
  json?: unknown;
  signal?: AbortSignal;
}

export interface ClientResponse {
  readonly status: number;
  readonly body: string;
  readonly headers: IncomingHttpHeaders;
  /** The Set-Cookie lines as they came. */
  readonly setCookie: string[];
  // biome-ignore lint/suspicious/noExplicitAny: what the server sends is for the test to say
  json(): any;
}

/**
 * A browser in small, for one origin: every cookie goes to every path, whatever its Domain, Path and Secure.
 * Redirects are not followed.
 */
export class Client {
  readonly url: string;
  readonly jar: Map<string, string> = new Map();

  constructor(url: string | Served) {
    this.url = typeof url === 'string' ? url.replace(/\/$/, '') : url.url;
  }

  get(path = '/', init?: RequestInit): Promise<ClientResponse> {
    return this.request('GET', path, init);
  }

  post(path = '/', init?: RequestInit): Promise<ClientResponse> {
    return this.request('POST', path, init);
  }

  async request(method: string, path: string, init: RequestInit = {}): Promise<ClientResponse> {
    const headers = lowerCase(init.headers ?? {});
    if (!('cookie' in headers) && this.jar.size > 0) headers.cookie = this.cookie;
    let body = init.body;
    if (init.json !== undefined) {
      body = JSON.stringify(init.json);
      headers['content-type'] ??= 'application/json';
    }
    if (body !== undefined) headers['content-length'] ??= Buffer.byteLength(body);
    const response = await send(method, this.url + path, headers, body, init.signal);
    for (const line of response.setCookie) this.#keep(line);
    return response;
  }

  /** The jar as a Cookie header. */
  get cookie(): string {
    return Array.from(this.jar, ([name, value]) => `${name}=${value}`).join('; ');
  }

  #keep(line: string): void {
    const [pair = '', ...attributes] = line.split(';');
    const [name, value] = split(pair);
    let expires: number | undefined;
    let maxAge: number | undefined;
    for (const attribute of attributes) {
      const [key, text] = split(attribute);
      if (key.toLowerCase() === 'max-age' && /^-?\d+$/.test(text)) maxAge = Number(text);
      if (key.toLowerCase() === 'expires') expires = Date.parse(text);
    }
    const dead = maxAge !== undefined ? maxAge <= 0 : expires !== undefined && expires <= Date.now();
    if (dead) this.jar.delete(name);
    else this.jar.set(name, value);
  }
}

function split(pair: string): [name: string, value: string] {
  const at = pair.indexOf('=');
  return at < 0 ? [pair.trim(), ''] : [pair.slice(0, at).trim(), pair.slice(at + 1).trim()];
}

function lowerCase(headers: OutgoingHttpHeaders): OutgoingHttpHeaders {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
}

function send(
  method: string,
  url: string,
  headers: OutgoingHttpHeaders,
  body: string | Uint8Array | undefined,
  signal: AbortSignal | undefined,
): Promise<ClientResponse> {
  return new Promise((resolve, reject) => {
    // A connection of its own for each request: none that a closing server has just ended is used again.
    const outgoing = request(url, { method, headers, agent: false, ...(signal && { signal }) }, (incoming) => {
      const chunks: Buffer[] = [];
      incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
      incoming.once('error', reject);
      incoming.once('end', () => {
        const text = Buffer.concat(chunks).toString();
        resolve({
          status: incoming.statusCode as number,
          body: text,
          headers: incoming.headers,
          setCookie: incoming.headers['set-cookie'] ?? [],
          json: () => JSON.parse(text),
        });
      });
    });
    outgoing.once('error', reject);
    outgoing.end(body);
  });
}
