import { once } from 'node:events';
import { createServer, IncomingMessage, ServerResponse } from 'node:http';
import { type AddressInfo, Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { expect } from 'chai';
import Koa from 'koa';
import {
  GoneError,
  InsecureError,
  LateError,
  NoResponseError,
  type Session,
  session,
  UnavailableError,
} from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import { stub } from 'sinon';
import { Client } from 'testkit/http';
import {
  asStore,
  createSite,
  errorOf,
  type Handler,
  OpenStore,
  observe,
  recordOf,
  type SiteOptions,
  SOME_COOKIE,
  serveApp,
  stubStore,
  tidy,
} from './helpers.js';

function makeRequest(headers: Record<string, string> = {}, socket = new Socket()): IncomingMessage {
  const request = new IncomingMessage(socket);
  Object.assign(request.headers, headers);
  return request;
}

/** A request with its response. */
function makeExchange(headers?: Record<string, string>) {
  const request = makeRequest(headers);
  return { request, response: new ServerResponse(request) };
}

/** A site, and a visitor who has a session there, in which n is 1. */
async function withVisitor(options: SiteOptions = {}, renew: Handler = () => undefined) {
  const store = options.store ?? new MemoryStore();
  const site = await createSite(
    {
      '/': (ctx) => void (ctx.session.n = 1),
      '/read': (ctx) => ({ ...ctx.session }),
      '/end': (ctx) => ctx.session.destroy(),
      '/renew': renew,
    },
    { ...options, store },
  );
  const ada = site.visitor();
  await ada.get('/');
  return { ...site, store, ada, request: makeRequest({ cookie: ada.cookie }) };
}

describe('sessions.open(request)', () => {
  afterEach(tidy);

  it('returns the visitor’s session', async () => {
    const { sessions, request } = await withVisitor();
    const opened = await sessions.open(request);
    expect([opened.n, opened.isNew, Object.keys(opened)]).to.deep.equal([1, false, ['n']]);
    expect(sessions.of(opened).ref).to.match(/^[\w-]{43}$/);
  });

  it('returns a new one for an anonymous visitor', async () => {
    const sessions = session(new MemoryStore());
    for (const request of [makeRequest(), makeRequest({ cookie: SOME_COOKIE }), makeRequest({ cookie: 'x' })]) {
      const opened = await sessions.open(request);
      expect([opened.isNew, Object.keys(opened), sessions.of(opened).ref]).to.deep.equal([true, [], undefined]);
      await opened.save();
      await opened.regenerate();
      await opened.destroy();
    }
  });

  it('works in a plain server, and in an upgrade', async () => {
    const { store, ada } = await withVisitor();
    const sessions = session(store);
    const server = createServer(async (request, response) => {
      const opened = await sessions.open(request, { response });
      opened.n = (opened.n ?? 0) + 1;
      await opened.save();
      response.end(String(opened.n));
    });
    server.on('upgrade', async (request, socket) => {
      const opened = await sessions.open(request);
      const n = await sessions.of(opened).update('n', (old = 0) => old + 10);
      socket.end(`HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n${n}`);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    try {
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
      const headers = { cookie: ada.cookie };
      const plain = await new Client(url).get('/', { headers });
      expect([plain.body, plain.setCookie.length, plain.headers.vary, plain.headers['cache-control']]).to.deep.equal([
        '2',
        1,
        'Cookie',
        'no-store',
      ]);
      const upgraded = await new Client(url).get('/', {
        headers: { ...headers, connection: 'Upgrade', upgrade: 'websocket' },
      });
      expect([upgraded.body, upgraded.setCookie]).to.deep.equal(['12', []]);
      expect((await ada.get('/read')).json()).to.deep.equal({ n: 12 });
      const fresh = new Client(url);
      expect([(await fresh.get('/')).body, (await fresh.get('/')).body]).to.deep.equal(['1', '2']);
    } finally {
      server.close();
      server.closeAllConnections();
    }
  });

  describe('without a response', () => {
    it('stores what changes in a session that is there, and nothing by itself', async () => {
      const { sessions, request, store, ada } = await withVisitor();
      const writes = observe(store);
      const opened = await sessions.open(request);
      opened.n = 2;
      await new Promise(setImmediate);
      expect(writes).to.deep.equal([]);
      await opened.save();
      expect((await ada.get('/read')).json()).to.deep.equal({ n: 2 });
      expect(await sessions.of(opened).update('n', (n: number) => n + 1)).to.equal(3);
      expect((await ada.get('/read')).json()).to.deep.equal({ n: 3 });
      sessions.of(opened).flash('note', 'x');
      opened.maxAge = 60_000;
      await opened.save();
      expect(await sessions.of(opened).takeFlash('note')).to.deep.equal(['x']);
      expect(writes).to.deep.equal(['update', 'update', 'update', 'update']);
    });

    it('ends a session', async () => {
      const { sessions, request, ada } = await withVisitor();
      const opened = await sessions.open(request);
      await opened.destroy();
      expect((await ada.get('/read')).json()).to.deep.equal({});
    });

    it('a new session is a NoResponseError, and nothing is stored', async () => {
      const store = new MemoryStore();
      const writes = observe(store);
      for (const save of ['save', 'update'] as const) {
        const sessions = session(store);
        const opened = await sessions.open(makeRequest());
        opened.a = 1;
        const error = await errorOf(() => (save === 'save' ? opened.save() : sessions.of(opened).update('b', () => 2)));
        expect(error).to.be.instanceOf(NoResponseError);
        expect([error.code, error.status, error.keys]).to.deep.equal([
          'WSESSION_NO_RESPONSE',
          500,
          save === 'save' ? ['a'] : ['a', 'b'],
        ]);
      }
      expect(writes).to.deep.equal([]);
    });

    it('a new id is a NoResponseError, and the old one stays', async () => {
      const { sessions, request, store, ada } = await withVisitor();
      const writes = observe(store);
      const opened = await sessions.open(request);
      for (const renew of [
        () => opened.regenerate(),
        () => sessions.of(opened).logIn('ada'),
        () => new Promise((_resolve, reject) => opened.regenerate(reject)),
      ])
        expect((await errorOf(renew)).code).to.equal('WSESSION_NO_RESPONSE');
      expect(writes).to.deep.equal([]);
      expect((await ada.get('/read')).json()).to.deep.equal({ n: 1 });
    });

    it('a change of a sealed session is a NoResponseError', async () => {
      const store = new OpenStore();
      const { sessions, request } = await withVisitor({ store });
      const opened = await sessions.open(request);
      expect(opened.n).to.equal(1);
      store.calls.length = 0;
      opened.n = 2;
      for (const change of [
        () => opened.save(),
        () => sessions.of(opened).update('n', () => 3),
        () => opened.regenerate(),
      ]) {
        const error = await errorOf(change);
        expect([error.code, error.keys]).to.deep.equal(['WSESSION_NO_RESPONSE', ['n']]);
      }
      expect(store.calls).to.deep.equal([]);
    });
  });

  describe('with a response', () => {
    it('sets the cookie of a new session, of a change, of a new id, and deletes it', async () => {
      for (const store of [new MemoryStore(), new OpenStore()]) {
        const sessions = session(store);
        let cookie = '';
        for (const step of [
          async (one: Session) => {
            one.a = 1;
            await one.save();
          },
          (one: Session) => sessions.of(one).update('a', (a: number) => a + 1),
          (one: Session) => one.regenerate(),
          (one: Session) => sessions.of(one).logIn('ada'),
        ]) {
          const { request, response } = makeExchange(cookie ? { cookie } : {});
          const opened = await sessions.open(request, { response });
          await step(opened);
          const lines = response.getHeader('Set-Cookie') as string[];
          expect(lines).to.have.length(1);
          cookie = lines[0]?.split(';')[0] as string;
        }
        const { request, response } = makeExchange({ cookie });
        const opened = await sessions.open(request, { response });
        expect(opened.a).to.equal(2);
        await opened.destroy();
        expect(String(response.getHeader('Set-Cookie'))).to.match(/^wsession=; Max-Age=0/);
      }
    });

    it('that began already, a new session is a LateError', async () => {
      const sessions = session(new MemoryStore());
      const codes: unknown[] = [];
      const served = await serveApp(async (request, response) => {
        const opened = await sessions.open(request, { response });
        response.write('x');
        opened.a = 1;
        codes.push(await errorOf(() => opened.save()));
        response.end();
      });
      await new Client(served).get('/');
      expect(codes[0]).to.be.instanceOf(LateError);
    });
  });

  it('knows app.keys through app', async () => {
    const { app, sessions, request } = await withVisitor({ keyring: ['secret'] });
    expect((await sessions.open(request, { app })).n).to.equal(1);
    expect((await sessions.open(request)).n, 'without').to.equal(undefined);
    const { request: mine, response } = makeExchange();
    const opened = await sessions.open(mine, { app, response });
    opened.a = 1;
    await opened.save();
    expect(String(response.getHeader('Set-Cookie'))).to.match(/^wsession=[\w-]{32}\.[\w-]{43};/);
  });

  it('knows https by the socket, or by app.proxy', async () => {
    const store = stubStore();
    const sessions = session(asStore({ ...store, secure: true }));
    const headers = { cookie: SOME_COOKIE, 'x-forwarded-proto': 'https' };
    const app = new Koa();
    const proxied = new Koa({ proxy: true });
    const tls = () => new TLSSocket(new Socket());
    for (const [request, options, expected] of [
      [makeRequest(headers), {}, undefined],
      [makeRequest(headers), { app }, undefined],
      [makeRequest(headers), { app: proxied }, 1],
      [makeRequest({ ...headers, 'x-forwarded-proto': 'http' }), { app: proxied }, undefined],
      [makeRequest({ ...headers, 'x-forwarded-proto': 'wss' }), { app: proxied }, 1],
      [makeRequest({ cookie: SOME_COOKIE }, tls()), {}, 1],
      [makeRequest({ cookie: SOME_COOKIE }, tls()), { app }, 1],
    ] as const) {
      const opened = await sessions.open(request, options);
      expect(opened.n).to.equal(expected);
      if (expected === undefined) expect(await errorOf(() => (opened.n = 2))).to.be.instanceOf(InsecureError);
    }
    expect(store.load.callCount).to.equal(4);
  });

  it('with a replaced id reads as anonymous, and writing is a GoneError', async () => {
    const { sessions, request, ada } = await withVisitor({}, (ctx) => ctx.session.regenerate());
    await ada.get('/renew');
    const { response } = makeExchange();
    const opened = await sessions.open(request, { response });
    expect([opened.isNew, Object.keys(opened)]).to.deep.equal([true, []]);
    opened.a = 1;
    expect(await errorOf(() => opened.save())).to.be.instanceOf(GoneError);
    expect(response.getHeader('Set-Cookie')).to.equal(undefined);
  });

  it('rejects while the store is down', async () => {
    for (const fail of [
      () => {
        throw new Error('down');
      },
      () => Promise.reject(new Error('down')),
      () => new Promise(() => undefined),
    ]) {
      const store = stubStore();
      store.load.callsFake(fail);
      const sessions = session(asStore(store), { timeout: 20 });
      const error = await errorOf(() => sessions.open(makeRequest({ cookie: SOME_COOKIE })));
      expect(error).to.be.instanceOf(UnavailableError);
      expect((await sessions.open(makeRequest())).isNew, 'anonymous').to.equal(true);
    }
  });

  it('reports a save() that fails and that nothing awaits, as an event of the app', async () => {
    const store = new MemoryStore();
    const { sessions, app, request, nextError } = await withVisitor({ store });
    const session = await sessions.open(request, { app });
    stub(store, 'update').throws(new Error('down'));
    session.n = 2;
    const reported = nextError();
    void session.save();
    expect(await reported).to.be.instanceOf(UnavailableError);
  });

  it('waits for the store, and for each of several tokens', async () => {
    const store = stubStore();
    store.load.onFirstCall().resolves(undefined);
    store.load.onSecondCall().resolves(recordOf({ n: '7' }));
    const cookie = `${SOME_COOKIE}; wsession=${'B'.repeat(32)}`;
    expect((await session(asStore(store)).open(makeRequest({ cookie }))).n).to.equal(7);
  });

  it('of a session that ended meanwhile: save() and update() reject with a GoneError', async () => {
    const { sessions, request, ada } = await withVisitor();
    const opened = [await sessions.open(request), await sessions.open(request), await sessions.open(request)] as const;
    await ada.get('/end');
    opened[0].n = 2;
    expect(await errorOf(() => opened[0].save())).to.be.instanceOf(GoneError);
    expect(await errorOf(() => sessions.of(opened[1]).update('n', () => 2))).to.be.instanceOf(GoneError);
    await opened[2].save();
  });
});
