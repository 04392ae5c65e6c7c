import { once } from 'node:events';
import { type ClientHttp2Session, connect, createServer, type IncomingHttpHeaders } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { expect } from 'chai';
import Koa from 'koa';
import { session } from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import { spy } from 'sinon';
import { Gate, tidy } from './helpers.js';

describe('over HTTP/2', () => {
  const closing: Array<() => void> = [];
  afterEach(async () => {
    for (const close of closing.splice(0)) close();
    await tidy();
  });

  async function open(handler: (ctx: Koa.Context) => unknown, store = new MemoryStore()) {
    const app = new Koa();
    const errors: Array<Error & { code?: string }> = [];
    app.on('error', (error) => errors.push(error));
    app.use(session(store));
    app.use(handler);
    const server = createServer(app.callback() as never);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const client = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    closing.push(() => {
      client.destroy();
      server.close();
    });
    return { client, errors };
  }

  async function get(client: ClientHttp2Session, path: string, cookie?: string | string[]) {
    const stream = client.request({ ':path': path, ...(cookie && { cookie }) });
    let body = '';
    stream.setEncoding('utf8');
    stream.on('data', (chunk) => {
      body += chunk;
    });
    const ended = once(stream, 'end');
    const [headers] = (await once(stream, 'response')) as [IncomingHttpHeaders];
    await ended;
    return { status: headers[':status'], headers, body, setCookie: headers['set-cookie'] ?? [] };
  }

  const count = (ctx: Koa.Context) => {
    ctx.session.n = (ctx.session.n ?? 0) + 1;
    if (ctx.path === '/throw') ctx.throw(401, 'no');
    if (ctx.path === '/crash') throw new Error('mine');
    ctx.body = String(ctx.session.n);
  };

  it('a session is kept, errors included', async () => {
    const { client, errors } = await open(count);
    const first = await get(client, '/');
    expect([first.status, first.body, first.setCookie.length, first.headers.vary]).to.deep.equal([
      200,
      '1',
      1,
      'Cookie',
    ]);
    const cookie = first.setCookie[0]?.split(';')[0] as string;
    for (const [path, status] of [
      ['/throw', 401],
      ['/crash', 500],
    ] as const) {
      const reply = await get(client, path, cookie);
      expect([reply.status, reply.setCookie.length, reply.headers['cache-control']]).to.deep.equal([
        status,
        1,
        'no-store',
      ]);
    }
    expect((await get(client, '/', ['other=1', cookie])).body, 'cookies come one by one').to.equal('4');
    expect(errors.map(({ message }) => message)).to.deep.equal(['no', 'mine']);
  });

  it('a stream that the client closed is no error, and the save happens once', async () => {
    const store = new MemoryStore();
    const create = spy(store, 'create');
    const [arrived, closed, finished] = [new Gate(), new Gate(), new Gate()];
    const { client, errors } = await open(async (ctx) => {
      if (ctx.path === '/after') return void (ctx.body = 'fine');
      ctx.session.n = 1;
      ctx.res.once('close', closed.open);
      arrived.open();
      await closed.passed;
      ctx.body = 'too late';
      ctx.session.n = 2;
      setImmediate(() => setImmediate(finished.open));
    }, store);
    const stream = client.request({ ':path': '/' });
    stream.on('error', () => undefined);
    await arrived.passed;
    stream.close();
    await finished.passed;
    expect([create.callCount, errors]).to.deep.equal([1, []]);
    expect((await get(client, '/after')).body).to.equal('fine');
  });
});
