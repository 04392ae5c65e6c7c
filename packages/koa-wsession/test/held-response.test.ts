import { once } from 'node:events';
import { request as httpRequest, IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import { Readable, type Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises';
import { expect } from 'chai';
import type Koa from 'koa';
import { type Sessions, session, UnavailableError } from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import { spy } from 'sinon';
import {
  asStore,
  createSite,
  Gate,
  type Handler,
  OpenStore,
  observe,
  SOME_COOKIE,
  type StubStore,
  stubStore,
  tidy,
  UPDATED,
} from './helpers.js';

/** Ways to respond past Koa, each with the body `raw`. */
const WAYS: Record<string, (res: ServerResponse) => unknown> = {
  'writeHead()': (res) => {
    res.writeHead(200);
    res.end('raw');
  },
  'writeHead() with an object of headers': (res) => {
    res.writeHead(200, { 'X-Raw': '1', 'Set-Cookie': ['raw=1', 'raw2=2'] });
    res.end('raw');
  },
  'writeHead() with a list of headers': (res) => {
    res.writeHead(200, ['X-Raw', '1', 'Set-Cookie', 'raw=1', 'Set-Cookie', 'raw2=2']);
    res.end('raw');
  },
  'writeHead() with a reason phrase and headers': (res) => {
    res.writeHead(200, 'Fine', { 'X-Raw': '1', 'Set-Cookie': ['raw=1', 'raw2=2'] });
    res.end('raw');
  },
  'write()': (res) => {
    res.write('ra');
    res.end('w');
  },
  'flushHeaders()': (res) => {
    res.flushHeaders();
    res.end('raw');
  },
  'end()': (res) => res.end('raw'),
  'a pipe': (res) => Readable.from(['r', 'a', 'w']).pipe(res),
  'a pipeline': (res) => pipeline(Readable.from(['r', 'a', 'w']), res as Writable),
};

/** Express's and Connect's kind of handler, as koa-connect runs it: the promise stays pending if `next` isn't called. */
function fromConnect(
  handler: (req: IncomingMessage, res: ServerResponse, next: (error?: unknown) => void) => void,
): Koa.Middleware {
  return (ctx, next) =>
    new Promise((resolve, reject) => {
      ctx.respond = false;
      ctx.res.statusCode = 200;
      handler(ctx.req, ctx.res, (error) => {
        ctx.respond = true;
        if (error) reject(error);
        else resolve(next());
      });
    });
}

const names = (setCookie: readonly string[]) => setCookie.map((line) => line.split('=')[0]);
const write: Handler = (ctx) => void (ctx.session.a = 1);
const get: Handler = (ctx) => ({ ...ctx.session });

/** Takes longer than the time after which a token is looked at again before it is sent. */
class SlowStore extends MemoryStore {}
for (const method of ['load', 'create', 'update', 'destroy'] as const) {
  const own = MemoryStore.prototype[method] as (...args: unknown[]) => unknown;
  Object.defineProperty(SlowStore.prototype, method, {
    value(this: SlowStore, ...args: unknown[]) {
      const answer = own.apply(this, args);
      return args.length > 1 ? delay(15, answer) : answer; // the store's own calls have one argument
    },
  });
}

for (const http2 of [false, true]) {
  describe(`a response over HTTP/${http2 ? 2 : 1} with unsaved changes`, () => {
    afterEach(tidy);

    for (const [way, respond] of Object.entries(WAYS)) {
      it(`that begins with ${way} is sent once the session is saved, with its cookie`, async () => {
        const store = stubStore();
        const saved = new Gate<unknown>();
        store.create.returns(saved.passed);
        let res: ServerResponse | undefined;
        const { visitor, errors } = await createSite(
          {
            '/': async (ctx) => {
              ctx.respond = false;
              ({ res } = ctx);
              ctx.res.statusCode = 200;
              ctx.session.a = 1;
              await respond(ctx.res);
            },
          },
          { store: asStore(store), http2 },
        );
        const replying = visitor().get('/');
        while (!store.create.called) await nextTurn();
        for (let i = 0; i < 5; i++) await nextTurn();
        expect(res?.headersSent).to.equal(false);
        saved.open({ outcome: 'created' });
        const { status, body, setCookie, headers } = await replying;
        const hasHeaders = way.includes('headers') && way.startsWith('writeHead');
        expect([status, body]).to.deep.equal([200, 'raw']);
        expect(names(setCookie)).to.have.members([...(hasHeaders ? ['raw', 'raw2'] : []), 'wsession']);
        expect([headers['x-raw'], headers.vary, headers['cache-control']]).to.deep.equal([
          hasHeaders ? '1' : undefined,
          'Cookie',
          'no-store',
        ]);
        expect([store.create.callCount, errors]).to.deep.equal([1, []]);
      });

      it(`that begins with ${way} long after the handler is done is held, too`, async () => {
        const { visitor, errors } = await createSite(
          {
            '/': (ctx) => {
              ctx.respond = false;
              setTimeout(() => {
                ctx.session.a = 1;
                respond(ctx.res);
              }, 5);
            },
            '/get': get,
          },
          { http2 },
        );
        const ada = visitor();
        const { body, setCookie } = await ada.get('/');
        expect([body, names(setCookie).at(-1)]).to.deep.equal(['raw', 'wsession']);
        expect((await ada.get('/get')).json()).to.deep.equal({ a: 1 });
        expect(errors).to.deep.equal([]);
      });
    }

    it('is sent as it was written: the calls are replayed in order, and their callbacks run', async () => {
      const called: string[] = [];
      const { visitor } = await createSite(
        {
          '/': (ctx) => {
            const { res } = ctx;
            ctx.respond = false;
            ctx.session.a = 1;
            res.setHeader('X-Before', '1');
            res.writeHead(201, { 'X-Mine': '2' });
            res.write('a', () => called.push('a'));
            res.write('Yg==', 'base64', () => called.push('b'));
            res.write(Buffer.from('c'));
            res.end('d', () => called.push('end'));
          },
        },
        { http2 },
      );
      const { status, body, headers } = await visitor().get('/');
      expect([status, body, headers['x-before'], headers['x-mine']]).to.deep.equal([201, 'abcd', '1', '2']);
      expect(called).to.deep.equal(['a', 'b', 'end']);
    });

    it('returns from the held calls what a stream returns: write() is false, and drain follows', async () => {
      const seen: unknown[] = [];
      const { visitor } = await createSite(
        {
          '/': async (ctx) => {
            const { res } = ctx;
            ctx.respond = false;
            ctx.session.a = 1;
            seen.push(res.writeHead(200) === res, res.write('a'), res.write('b'), res.headersSent);
            await once(res, 'drain');
            seen.push('drain', res.headersSent);
            seen.push(res.end('c') === res);
          },
        },
        { http2 },
      );
      expect((await visitor().get('/')).body).to.equal('abc');
      expect(seen).to.deep.equal([true, false, false, false, 'drain', true, true]);
    });

    it('of a megabyte from a stream arrives whole', async () => {
      const chunk = 'x'.repeat(2 ** 16);
      const { visitor } = await createSite(
        {
          '/': (ctx) => {
            ctx.respond = false;
            ctx.session.a = 1;
            Readable.from(Array.from({ length: 16 }, () => chunk)).pipe(ctx.res);
          },
        },
        { http2 },
      );
      expect((await visitor().get('/')).body).to.have.length(2 ** 20);
    });

    it('looks ended while end() is held: writableEnded and finished are true', async () => {
      const seen: unknown[] = [];
      const { visitor } = await createSite(
        {
          '/': (ctx) => {
            const { res } = ctx;
            ctx.respond = false;
            ctx.session.a = 1;
            seen.push(res.writableEnded, res.finished);
            res.end('raw');
            seen.push(res.writableEnded, res.finished, res.headersSent);
            res.once('finish', () => seen.push(res.writableEnded, res.finished, res.headersSent));
          },
        },
        { http2 },
      );
      expect((await visitor().get('/')).body).to.equal('raw');
      await nextTurn();
      expect(seen).to.deep.equal([false, false, true, true, false, true, true, true]);
    });

    it('that the handler ended without ctx.respond = false is not answered a second time by Koa', async () => {
      const { visitor, errors } = await createSite(
        {
          '/': (ctx) => {
            ctx.session.a = 1;
            ctx.res.statusCode = 202;
            ctx.res.end('raw');
          },
          '/get': get,
        },
        { http2 },
      );
      const ada = visitor();
      const { status, body, setCookie } = await ada.get('/');
      expect([status, body, setCookie.length, errors]).to.deep.equal([202, 'raw', 1, []]);
      expect((await ada.get('/get')).json()).to.deep.equal({ a: 1 });
    });

    it('gives Koa the control back only once it is saved', async () => {
      const store = stubStore();
      const saved = new Gate<unknown>();
      store.create.returns(saved.passed);
      const order: string[] = [];
      const { visitor } = await createSite(
        {
          '/': (ctx) => {
            ctx.session.a = 1;
            ctx.res.end('raw');
          },
        },
        {
          store: asStore(store),
          http2,
          before: [
            async (_ctx, next) => {
              await next();
              order.push('back');
            },
          ],
        },
      );
      const replying = visitor().get('/');
      while (!store.create.called) await nextTurn();
      await nextTurn();
      order.push('saved');
      saved.open({ outcome: 'created' });
      await replying;
      expect(order).to.deep.equal(['saved', 'back']);
    });

    const failures: Array<[status: number, code: string, what: string, fail: (store: StubStore) => unknown]> = [
      [503, 'WSESSION_UNAVAILABLE', 'the store is down', (store) => store.update.rejects(new Error('down'))],
      [409, 'WSESSION_GONE', 'the session ended', (store) => store.update.returns({ outcome: 'gone' })],
      [500, 'WSESSION_VALUE', 'a value can not be stored', (store) => store.update.returns(UPDATED)],
    ];
    for (const [status, code, what, fail] of failures)
      for (const [way, respond] of Object.entries(WAYS))
        it(`whose save fails since ${what} is a ${status}: nothing of ${way} is sent`, async () => {
          const store = stubStore();
          fail(store);
          const { visitor, errors } = await createSite(
            {
              '/': (ctx) => {
                ctx.respond = false;
                ctx.session.a = status === 500 ? { nested: () => 1 } : 1;
                const answering = respond(ctx.res);
                if (answering instanceof Promise) answering.catch(() => undefined);
              },
            },
            { store: asStore(store), http2 },
          );
          const reply = await visitor().get('/', { headers: { cookie: SOME_COOKIE } });
          expect([reply.status, reply.setCookie, reply.headers['x-raw']]).to.deep.equal([status, [], undefined]);
          expect(reply.body).to.not.include('raw');
          expect(errors.map(({ code }) => code)).to.deep.equal([code]);
        });

    it('whose save failed calls the callbacks of the calls that came to nothing, with the error', async () => {
      const store = stubStore();
      store.create.rejects(new Error('down'));
      const called: Array<Error | null | undefined> = [];
      const ended = new Gate();
      const { visitor } = await createSite(
        {
          '/': async (ctx) => {
            ctx.respond = false;
            ctx.session.a = 1;
            const call = (run: (callback: (error?: Error | null) => void) => unknown) =>
              new Promise<void>((resolve) => run((error) => resolve(void called.push(error))));
            await call((callback) => ctx.res.write('a', callback));
            await call((callback) => ctx.res.end('b', callback as () => void));
          },
        },
        { store: asStore(store), http2, before: [(_ctx, next) => next().finally(ended.open)] },
      );
      expect((await visitor().get('/')).status).to.equal(503);
      await ended.passed;
      expect(called.map((error) => error instanceof UnavailableError)).to.deep.equal([true, true]);
    });

    it('of which a held call is wrong is cut off, and reported', async () => {
      const { visitor, nextError } = await createSite(
        {
          '/': (ctx) =>
            fromConnect((_req, res) => {
              ctx.session.a = 1;
              res.write('ra');
              res.write(5 as never);
              res.end('w');
            })(ctx, async () => undefined),
        },
        { http2 },
      );
      const reported = nextError();
      await visitor()
        .get('/')
        .catch(() => undefined);
      expect(await reported).to.have.property('code', 'ERR_INVALID_ARG_TYPE');
    });

    it('whose save failed ignores what the handler still writes, which ends no process', async () => {
      const store = stubStore();
      store.create.rejects(new Error('down'));
      const seen: unknown[] = [];
      const { app, visitor } = await createSite(
        {
          '/': (ctx) => {
            ctx.respond = false;
            ctx.session.a = 1;
            ctx.res.write('a');
            // Once the error was sent, and before the response is closed.
            app.once('error', () =>
              process.nextTick(() => {
                seen.push(ctx.res.writableEnded);
                ctx.res.write('b');
                ctx.res.end('c');
              }),
            );
          },
        },
        { store: asStore(store), http2 },
      );
      const { status, body } = await visitor().get('/');
      expect([status, body, seen]).to.deep.equal([503, 'Service Unavailable', [true]]);
    });

    it('is not saved again by the session middleware: one call to the store', async () => {
      const store = new MemoryStore();
      const order = observe(store);
      const { visitor } = await createSite(
        {
          '/': (ctx) => {
            ctx.session.a = 1;
            ctx.res.end('raw');
          },
        },
        { store, http2 },
      );
      await visitor().get('/');
      expect(order).to.deep.equal(['create']);
    });

    it('is not sent ahead of its headers where another step is in progress by then', async () => {
      const store = stubStore();
      const [created, saved] = [new Gate<unknown>(), new Gate<unknown>()];
      store.create.returns(created.passed);
      store.update.returns(saved.passed);
      const { visitor } = await createSite(
        {
          '/': async (ctx) => {
            ctx.respond = false;
            ctx.res.statusCode = 200;
            ctx.session.a = 1;
            ctx.res.write('a');
            while (!store.create.called) await nextTurn();
            ctx.session.b = 2;
            void ctx.session.save();
            created.open({ outcome: 'created' });
            while (!store.update.called) await nextTurn();
            ctx.res.end('b');
            saved.open(UPDATED);
          },
        },
        { store: asStore(store), http2 },
      );
      const { status, body, setCookie } = await visitor().get('/');
      expect([status, body, setCookie.length]).to.deep.equal([200, 'ab', 1]);
      expect([store.create.callCount, store.update.callCount]).to.deep.equal([1, 1]);
    });

    it("of a session that ended carries the cookie's deletion", async () => {
      const { visitor } = await createSite(
        {
          '/': write,
          '/end': (ctx) => {
            ctx.respond = false;
            ctx.session = null;
            ctx.res.end('raw');
          },
          '/get': get,
        },
        { http2 },
      );
      const ada = visitor();
      await ada.get('/');
      const { cookie } = ada;
      const { setCookie } = await ada.get('/end');
      expect(setCookie[0]).to.match(/^wsession=; Max-Age=0/);
      expect((await ada.get('/get', { headers: { cookie } })).json()).to.deep.equal({});
    });

    it('with a store that seals carries the new token', async () => {
      const { visitor } = await createSite(
        {
          '/': write,
          '/raw': (ctx) => {
            ctx.respond = false;
            ctx.session.b = 2;
            ctx.res.writeHead(200, { 'X-Raw': '1' });
            ctx.res.end('raw');
          },
          '/get': get,
        },
        { http2, store: new OpenStore() },
      );
      const ada = visitor();
      await ada.get('/');
      await ada.get('/raw');
      expect((await ada.get('/get')).json()).to.deep.equal({ a: 1, b: 2 });
    });

    it('of an Express-like handler that never calls next is stored, and delivered', async () => {
      const { visitor, errors } = await createSite(
        {
          '/': (ctx) =>
            fromConnect((_req, res) => {
              ctx.session.count = (ctx.session.count ?? 0) + 1;
              setImmediate(() => {
                res.setHeader('Content-Type', 'text/plain');
                res.end(`count ${ctx.session.count}`);
              });
            })(ctx, async () => undefined),
        },
        { http2 },
      );
      const ada = visitor();
      const bodies = [(await ada.get('/')).body, (await ada.get('/')).body];
      expect([bodies, errors]).to.deep.equal([['count 1', 'count 2'], []]);
    });

    it('is sent once what changed while it was held is saved, too', async () => {
      const store = new MemoryStore();
      const [arrived, released] = [new Gate(), new Gate()];
      const { visitor } = await createSite(
        {
          '/set': (ctx) => void (ctx.session.a = 1),
          '/': (ctx) =>
            fromConnect(async (_req, res) => {
              ctx.session.b = 2;
              res.write('ra');
              await arrived.passed;
              ctx.session.c = 3;
              res.end('w');
              released.open();
            })(ctx, async () => undefined),
          '/get': get,
        },
        { store, http2 },
      );
      const ada = visitor();
      await ada.get('/set');
      const update = store.update.bind(store);
      store.update = (async (...args: Parameters<typeof update>) => {
        arrived.open();
        await released.passed;
        return update(...args);
      }) as never;
      expect((await ada.get('/')).body).to.equal('raw');
      expect((await ada.get('/get')).json()).to.deep.equal({ a: 1, b: 2, c: 3 });
    });

    it('that began before the change, of an Express-like handler that never calls next, ends once it is saved', async () => {
      const { visitor, errors } = await createSite(
        {
          '/set': (ctx) => void (ctx.session.a = 1),
          '/': (ctx) =>
            fromConnect((_req, res) => {
              res.write(ctx.session.a ? 'known, ' : 'new, ');
              ctx.session.b = 2;
              res.end('and ended');
            })(ctx, async () => undefined),
          '/get': get,
        },
        { http2 },
      );
      const ada = visitor();
      await ada.get('/set');
      expect((await ada.get('/')).body).to.equal('known, and ended');
      expect((await ada.get('/get')).json()).to.deep.equal({ a: 1, b: 2 });
      expect(errors).to.deep.equal([]);
      expect((await visitor().get('/')).body).to.equal('new, and ended');
      expect(errors.map(({ code }) => code)).to.deep.equal(['WSESSION_LATE']); // no cookie could be sent
    });

    it('that was ended is sent as it was ended, whatever an error handler makes of it afterwards', async () => {
      const { visitor, errors } = await createSite(
        {
          '/': (ctx) =>
            fromConnect((_req, res) => {
              ctx.session.a = 1;
              res.setHeader('Content-Type', 'text/x-raw');
              res.setHeader('X-Raw', '1');
              res.end('raw');
              // As Express's final handler responds to an error, unless the headers are sent.
              for (const name of res.getHeaderNames()) res.removeHeader(name);
              res.statusCode = 500;
              res.setHeader('Content-Type', 'text/html');
              res.setHeader('Content-Length', 100);
              res.end('e'.repeat(100));
            })(ctx, async () => undefined),
          '/get': get,
        },
        { http2 },
      );
      const ada = visitor();
      const { status, headers, body, setCookie } = await ada.get('/');
      expect([status, headers['content-type'], headers['x-raw'], body]).to.deep.equal([200, 'text/x-raw', '1', 'raw']);
      expect(names(setCookie)).to.deep.equal(['wsession']);
      expect((await ada.get('/get')).json()).to.deep.equal({ a: 1 });
      expect(errors).to.deep.equal([]);
    });

    it('of an Express-like handler that never calls next is the error where the save fails', async () => {
      const store = stubStore();
      store.create.rejects(new Error('down'));
      const { visitor } = await createSite(
        {
          '/': (ctx) =>
            fromConnect((_req, res) => {
              ctx.session.a = 1;
              res.setHeader('Location', '/account');
              res.statusCode = 302;
              res.end();
            })(ctx, async () => undefined),
        },
        { store: asStore(store), http2 },
      );
      const { status, headers, setCookie } = await visitor().get('/');
      expect([status, headers.location, setCookie]).to.deep.equal([503, undefined, []]);
    });

    it('of a middleware in front, which changes the session after next(), is stored', async () => {
      const sessionsOf: { sessions?: Sessions } = {};
      const site = await createSite(
        {
          '/fail': (ctx) => ctx.throw(422, 'no'),
          '/read': (ctx) => void ctx.session.user,
          '/get': (ctx, sessions) =>
            sessions
              .of(ctx)
              .takeFlash('note')
              .then((notes) => [notes, { ...ctx.session }]),
        },
        {
          http2,
          before: [
            async (ctx, next) => {
              try {
                await next();
                if (ctx.path === '/read') ctx.session.seen = true;
              } catch (error) {
                sessionsOf.sessions?.of(ctx).flash('note', (error as Error).message);
                ctx.redirect('/get');
              }
            },
          ],
        },
      );
      sessionsOf.sessions = site.sessions;
      const ada = site.visitor();
      const failed = await ada.get('/fail');
      expect([failed.status, failed.headers.location, failed.setCookie.length]).to.deep.equal([302, '/get', 1]);
      await ada.get('/read');
      expect((await ada.get('/get')).json()).to.deep.equal([['no'], { seen: true }]);
      expect(site.errors).to.deep.equal([]);
    });

    it('of a middleware in front, which changes the session and throws, is sent once the change is stored', async () => {
      const { visitor, errors } = await createSite(
        { '/': () => 'fine', '/get': get },
        {
          http2,
          before: [
            async (ctx, next) => {
              await next();
              if (ctx.path !== '/') return;
              ctx.session.seen = true;
              ctx.throw(422, 'no');
            },
          ],
        },
      );
      const ada = visitor();
      const { status, body, setCookie } = await ada.get('/');
      expect([status, body, names(setCookie)]).to.deep.equal([422, 'no', ['wsession']]);
      expect((await ada.get('/get')).json()).to.deep.equal({ seen: true });
      expect(errors.map(({ status }) => status)).to.deep.equal([422]);
    });

    it('of a middleware in front, whose change can not be stored, is the error', async () => {
      const store = stubStore();
      store.create.rejects(new Error('down'));
      const { visitor, errors } = await createSite(
        { '/': () => 'fine' },
        {
          store: asStore(store),
          http2,
          before: [
            async (ctx, next) => {
              await next();
              ctx.session.seen = true;
            },
          ],
        },
      );
      const { status, body, setCookie } = await visitor().get('/');
      expect([status, body, setCookie]).to.deep.equal([503, 'Service Unavailable', []]);
      expect(errors.map(({ code }) => code)).to.deep.equal(['WSESSION_UNAVAILABLE']);
    });
  });
}

describe('a response whose client hung up while it was held', () => {
  afterEach(tidy);

  it('still saves the session, and is no error', async () => {
    const store = new MemoryStore();
    const [arrived, closed, released] = [new Gate(), new Gate(), new Gate()];
    const create = store.create.bind(store);
    const stored: string[] = [];
    store.create = (async (...args: Parameters<typeof create>) => {
      arrived.open();
      await released.passed;
      stored.push(...args[1].entries.keys());
      return create(...args);
    }) as never;
    const update = spy(store, 'update');
    const ended = new Gate();
    const { served, errors } = await createSite(
      {
        '/': async (ctx) => {
          ctx.respond = false;
          ctx.res.once('close', closed.open);
          ctx.session.a = 1;
          ctx.res.writeHead(200);
          ctx.res.write('a');
          ctx.res.end('b');
        },
      },
      {
        store,
        before: [(_ctx, next) => next().finally(ended.open)],
      },
    );
    const outgoing = httpRequest(served.url, { agent: false });
    outgoing.on('error', () => undefined);
    outgoing.end();
    await arrived.passed;
    outgoing.destroy();
    await closed.passed;
    released.open();
    await ended.passed;
    await nextTurn();
    expect([stored, update.callCount, errors]).to.deep.equal([['a'], 0, []]);
  });
});

for (const http2 of [false, true])
  describe(`a response of two sessions over HTTP/${http2 ? 2 : 1}`, () => {
    afterEach(tidy);

    it('has its head, and both cookies, however long the stores take', async () => {
      const outer = session(new SlowStore(), { name: 'outer' });
      const keepOuter: Koa.Middleware = (ctx, next) => {
        ctx.state.outer = ctx.session;
        return next();
      };
      const { visitor } = await createSite(
        {
          '/': (ctx) => {
            ctx.state.outer.n = (ctx.state.outer.n ?? 0) + 1;
            ctx.session.n = (ctx.session.n ?? 0) + 1;
            ctx.body = 'HTTP/1.1 200 OK\r\nSet-Cookie: evil=1\r\n\r\n';
          },
        },
        { store: new SlowStore(), before: [outer, keepOuter], http2 },
      );
      const ada = visitor();
      for (let i = 0; i < 3; i++) {
        const { status, setCookie } = await ada.get('/');
        expect([status, setCookie.map((line) => line.split('=')[0]).sort()]).to.deep.equal([
          200,
          ['outer', 'wsession'],
        ]);
      }
    });
  });

describe('a response whose own `end` something in front calls later', () => {
  afterEach(tidy);

  it('has its head', async () => {
    const endLater: Koa.Middleware = async ({ res }, next) => {
      const { end } = res;
      res.end = ((chunk: unknown) => {
        setTimeout(() => end.call(res, chunk as never, 'utf8'), 30);
        return res;
      }) as never;
      await next();
    };
    const { visitor } = await createSite(
      { '/': (ctx) => void (ctx.session.n = (ctx.session.n ?? 0) + 1) },
      { before: [endLater] },
    );
    const ada = visitor();
    for (let i = 0; i < 2; i++) expect(await ada.get('/')).to.include({ status: 200, body: 'ok' });
  });
});

describe('a change after a client has reset the connection of a response whose head was sent', () => {
  afterEach(tidy);

  it('is stored', async () => {
    const changed = new Gate();
    const { served, visitor } = await createSite({
      '/set': (ctx) => void (ctx.session.n = 1),
      '/stream': async (ctx) => {
        ctx.session.n;
        ctx.respond = false;
        ctx.res.writeHead(200);
        ctx.res.write('x');
        await once(ctx.res, 'close');
        ctx.session.late = true;
        ctx.res.end();
        changed.open();
      },
      '/get': (ctx) => ({ ...ctx.session }),
    });
    const ada = visitor();
    await ada.get('/set');
    const request = httpRequest(`${served.url}/stream`, { headers: { cookie: ada.cookie } }).on('error', () => {});
    request.on('response', (response: IncomingMessage) => {
      response.on('error', () => {});
      request.socket?.resetAndDestroy();
    });
    request.end();
    await changed.passed;
    await nextTurn();
    expect((await ada.get('/get')).json()).to.deep.equal({ n: 1, late: true });
  });
});

describe('a response of an app that a serverless adapter calls', () => {
  it('is not taken for sent by its caller, which looks at it once the call has returned', async () => {
    const { app } = await createSite({
      '/': (ctx) => {
        ctx.respond = false;
        ctx.session.a = 1;
        ctx.res.end('raw');
      },
    });
    const req = Object.assign(new IncomingMessage(new Socket()), { method: 'GET', url: '/' });
    const res = new ServerResponse(req);
    const done = app.callback()(req, res);
    await undefined;
    expect(res.finished).to.equal(false);
    await done;
    expect([res.finished, res.getHeaderNames()]).to.deep.equal([true, ['vary', 'set-cookie', 'cache-control']]);
  });
});

describe('a response without unsaved changes', () => {
  afterEach(tidy);

  it('is sent at once, by the methods that it had', async () => {
    const seen: unknown[] = [];
    const { visitor } = await createSite({
      '/': write,
      '/read': (ctx) => {
        const { a } = ctx.session;
        ctx.respond = false;
        ctx.res.write(String(a));
        seen.push(ctx.res.headersSent);
        ctx.res.end();
        seen.push(ctx.res.writableEnded);
      },
      '/untouched': (ctx) => {
        ctx.respond = false;
        seen.push(Object.hasOwn(ctx.res, 'end'));
        ctx.res.end();
      },
    });
    const ada = visitor();
    await ada.get('/');
    expect((await ada.get('/read')).body).to.equal('1');
    await ada.get('/untouched');
    expect(seen).to.deep.equal([true, true, false]);
  });
});
