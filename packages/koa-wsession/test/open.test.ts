import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { expect } from 'chai';
import Koa from 'koa';
import {
  InsecureError,
  LateError,
  NoResponseError,
  type Session,
  session,
  UnavailableError,
} from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import { Client, type ClientResponse } from 'testkit/http';
import { asStore, errorOf, OpenStore, SOME_COOKIE, serveApp, stubStore, tidy } from './helpers.js';

/** Answers a request of a plain server with what `body` makes of it. */
async function plainRequest(
  body: (request: IncomingMessage, response: ServerResponse) => unknown,
  client?: Client,
  headers?: Record<string, string>,
): Promise<ClientResponse> {
  let failure: { error: unknown } | undefined;
  const served = await serveApp(async (request, response) => {
    try {
      await body(request, response);
    } catch (error) {
      failure = { error };
    }
    if (!response.writableEnded) response.end('ok');
  });
  const other = new Client(served);
  if (client) for (const [name, value] of client.jar) other.jar.set(name, value);
  const reply = await other.get('/', headers ? { headers } : {});
  if (failure) throw failure.error;
  if (client) for (const [name, value] of other.jar) client.jar.set(name, value);
  return reply;
}

describe('sessions.open(request, options)', () => {
  afterEach(tidy);

  async function createBoth(store: MemoryStore | OpenStore, keys?: string[]) {
    const sessions = session(store);
    const app = new Koa();
    if (keys) app.keys = keys;
    app.use(sessions);
    app.use((ctx) => {
      if (ctx.path === '/login') ctx.session.user = 'ada';
      ctx.body = JSON.stringify({ ...ctx.session });
    });
    const client = new Client(await serveApp(app));
    return { sessions, app, client };
  }

  it('gives the session of the app’s visitor', async () => {
    for (const store of [new MemoryStore(), new OpenStore()]) {
      const { sessions, client } = await createBoth(store);
      await client.get('/login');
      await plainRequest(async (request) => {
        const opened = await sessions.open(request);
        expect([opened.user, opened.isNew, { ...opened }]).to.deep.equal(['ada', false, { user: 'ada' }]);
      }, client);
    }
  });

  it('with the app verifies what it signed, and without it nothing of that counts', async () => {
    const { sessions, app, client } = await createBoth(new MemoryStore(), ['key']);
    await client.get('/login');
    await plainRequest(async (request) => {
      expect((await sessions.open(request, { app })).user).to.equal('ada');
      expect((await sessions.open(request)).user).to.equal(undefined);
    }, client);
  });

  it('stores with save() and update(), and nothing by itself', async () => {
    const { sessions, client } = await createBoth(new MemoryStore());
    await client.get('/login');
    await plainRequest(async (request, response) => {
      const opened = await sessions.open(request);
      opened.a = 1;
      await opened.save();
      await opened.update('n', (n = 0) => n + 1);
      opened.lost = true;
      expect(response.hasHeader('Set-Cookie')).to.equal(false);
    }, client);
    expect((await client.get('/')).json()).to.deep.equal({ user: 'ada', a: 1, n: 1 });
  });

  it('without a response can not begin a session, or move a token', async () => {
    for (const [store, cookie] of [
      [new MemoryStore(), false],
      [new OpenStore(), false],
      [new OpenStore(), true],
    ] as const) {
      const { sessions, client } = await createBoth(store);
      if (cookie) await client.get('/login');
      await plainRequest(async (request) => {
        const opened = await sessions.open(request);
        opened.a = 1;
        const error = await errorOf(() => opened.save());
        expect(error).to.be.instanceOf(NoResponseError);
        expect([error.code, error.keys]).to.deep.equal(['WSESSION_NO_RESPONSE', ['a']]);
      }, client);
      expect((await client.get('/')).json()).to.deep.equal(cookie ? { user: 'ada' } : {});
    }
  });

  it('without a response can end a session, and not give it another id', async () => {
    const { sessions, client } = await createBoth(new MemoryStore());
    await client.get('/login');
    await plainRequest(async (request) => {
      const opened = await sessions.open(request);
      expect(await errorOf(() => opened.regenerate())).to.be.instanceOf(NoResponseError);
      await opened.destroy();
    }, client);
    expect((await client.get('/')).json()).to.deep.equal({});
  });

  it('with a response hands the token over in its headers, with Vary and Cache-Control', async () => {
    for (const store of [new MemoryStore(), new OpenStore()]) {
      const { sessions, client } = await createBoth(store);
      const { setCookie, headers } = await plainRequest(async (request, response) => {
        const opened = await sessions.open(request, { response });
        opened.user = 'ada';
        await opened.save();
        await opened.regenerate();
      }, client);
      expect(setCookie).to.have.length(1);
      expect([headers.vary, headers['cache-control']]).to.deep.equal(['Cookie', 'no-store']);
      expect((await client.get('/')).json()).to.deep.equal({ user: 'ada' });
    }
  });

  it('with a response that is sent already is too late for a new session', async () => {
    const { sessions } = await createBoth(new MemoryStore());
    await plainRequest(async (request, response) => {
      const opened = await sessions.open(request, { response });
      response.end('sent');
      opened.a = 1;
      expect(await errorOf(() => opened.save())).to.be.instanceOf(LateError);
    });
  });

  it('works for the upgrade of a WebSocket', async () => {
    const { sessions, client } = await createBoth(new MemoryStore());
    await client.get('/login');
    const server = createServer();
    server.on('upgrade', async (request, socket) => {
      const { user } = await sessions.open(request);
      socket.end(
        `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\nX-User: ${user}\r\n\r\n`,
      );
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    const { request } = await import('node:http');
    const outgoing = request({
      port,
      host: '127.0.0.1',
      headers: { connection: 'Upgrade', upgrade: 'x', cookie: client.cookie },
    });
    outgoing.end();
    const [response, socket] = await once(outgoing, 'upgrade');
    expect(response.headers['x-user']).to.equal('ada');
    socket.destroy();
    server.close();
    await once(server, 'close');
  });

  it('knows https by the socket, or by what the app trusts', async () => {
    const sessions = session(new MemoryStore({ secure: true }));
    const app = new Koa();
    const write = async (opening: Promise<Session>) => {
      const opened = await opening;
      opened.a = 1;
      await opened.save();
    };
    const headers = { 'x-forwarded-proto': 'https' };
    await plainRequest(
      async (request, response) => {
        expect(await errorOf(() => write(sessions.open(request, { response })))).to.be.instanceOf(
          InsecureError,
        );
        expect(await errorOf(() => write(sessions.open(request, { response, app })))).to.be.instanceOf(
          InsecureError,
        );
        app.proxy = true;
        await write(sessions.open(request, { response, app }));
        await write(sessions.open(Object.assign(request, { socket: { encrypted: true } }), { response }));
      },
      undefined,
      headers,
    );
  });

  it('of a store that fails is an UnavailableError', async () => {
    const store = stubStore();
    store.load.rejects(new Error('down'));
    await plainRequest(
      async (request) =>
        expect(await errorOf(() => session(asStore(store)).open(request))).to.be.instanceOf(UnavailableError),
      undefined,
      { cookie: SOME_COOKIE },
    );
  });
});
