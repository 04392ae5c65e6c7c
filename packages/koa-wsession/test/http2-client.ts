import { once } from 'node:events';
import { connect, createServer, type OutgoingHttpHeaders } from 'node:http2';
import type { AddressInfo } from 'node:net';
import type Koa from 'koa';
import { Client, type ClientResponse, type RequestInit, type Served } from 'testkit/http';

/** Serves an app over HTTP/2 without TLS. */
export async function serveHttp2(app: Koa): Promise<Served> {
  const server = createServer(app.callback() as never);
  const sessions = new Set<{ destroy(): void }>();
  server.on('session', (session) => {
    sessions.add(session);
    session.on('close', () => sessions.delete(session));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    async close() {
      for (const session of sessions) session.destroy();
      server.close();
    },
  };
}

/** The same visitor over HTTP/2. Each request has a connection of its own. */
export class Http2Client extends Client {
  override async request(method: string, path: string, init: RequestInit = {}): Promise<ClientResponse> {
    const connection = connect(this.url);
    try {
      const headers: OutgoingHttpHeaders = { ':method': method, ':path': path, ...init.headers };
      if (!('cookie' in headers) && this.jar.size > 0) headers.cookie = this.cookie;
      const stream = connection.request(headers);
      stream.end(init.body);
      let body = '';
      stream.setEncoding('utf8');
      stream.on('data', (chunk) => {
        body += chunk;
      });
      const ended = once(stream, 'end');
      const [received] = await once(stream, 'response');
      await ended;
      const setCookie: string[] = received['set-cookie'] ?? [];
      for (const line of setCookie) {
        const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
        if (/; Max-Age=0/.test(line)) this.jar.delete(name);
        else this.jar.set(name, value);
      }
      return {
        status: received[':status'] as number,
        body,
        headers: received,
        setCookie,
        json: () => JSON.parse(body),
      };
    } finally {
      connection.destroy();
    }
  }
}
