import { request as httpRequest, type ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { Readable } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect } from 'chai';
import Koa from 'koa';
import { session } from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import { spy } from 'sinon';
import { Client } from 'testkit/http';
import {
  asStore,
  createSite,
  errorOf,
  Gate,
  inRequest,
  SOME_COOKIE,
  serveApp,
  stubStore,
  tidy,
  UPDATED,
} from './helpers.js';

const names = (setCookie: readonly string[]) => setCookie.map((line) => line.split('=')[0]);
type Step = (ctx: Koa.Context) => unknown;

const write: Step = (ctx) => void (ctx.session.a = 1);

describe('the response', () => {
  afterEach(tidy);

  describe('keeps the cookies of other code', () => {
    it('set before and after, by Koa or by hand, one line or many', async () => {
      for (const handler of [
        (ctx: Koa.Context) => {
          ctx.cookies.set('a', '1');
          ctx.session.a = 1;
          ctx.cookies.set('b', '2');
        },
        (ctx: Koa.Context) => {
          ctx.set('Set-Cookie', ['a=1', 'b=2']);
          ctx.session.a = 1;
        },
        (ctx: Koa.Context) => {
          ctx.res.setHeader('Set-Cookie', 'a=1');
          ctx.session.a = 1;
          ctx.append('Set-Cookie', 'b=2');
        },
      ]) {
        const { setCookie } = await inRequest(handler);
        expect(names(setCookie)).to.deep.equal(['a', 'b', 'wsession']);
      }
    });

    it('of a name that begins alike', async () => {
      const { setCookie } = await inRequest(async (ctx) => {
        ctx.set('Set-Cookie', ['wsession2=1', 'wsession.sig=2']);
        ctx.session.a = 1;
        await ctx.session.save();
        ctx.session.a = 2;
      });
      expect(names(setCookie)).to.deep.equal(['wsession2', 'wsession.sig', 'wsession']);
    });
  });

  describe('to an error', () => {
    it('delivers the cookie, with Cache-Control and Vary, and no other header that was set before', async () => {
      const { visitor } = await createSite({
        '/': (ctx) => {
          ctx.set('X-Mine', '1');
          ctx.cookies.set('other', '1');
          ctx.session.a = 1;
          ctx.throw(401, 'who are you?', { headers: { 'WWW-Authenticate': 'Basic' } });
        },
      });
      const { status, body, setCookie, headers } = await visitor().get('/');
      expect([status, body, names(setCookie)]).to.deep.equal([401, 'who are you?', ['wsession']]);
      expect([headers['cache-control'], headers.vary, headers['www-authenticate'], headers['x-mine']]).to.deep.equal([
        'no-store',
        'Cookie',
        'Basic',
        undefined,
      ]);
    });

    it('keeps the headers of the error itself', async () => {
      const headers = { 'Set-Cookie': ['mine=1'], 'Cache-Control': 'private', Vary: 'Accept' };
      const { visitor } = await createSite({
        '/': (ctx) => {
          ctx.session.a = 1;
          ctx.throw(401, { headers });
        },
      });
      const reply = await visitor().get('/');
      expect(names(reply.setCookie)).to.deep.equal(['mine', 'wsession']);
      expect([reply.headers['cache-control'], reply.headers.vary]).to.deep.equal(['private', 'Accept, Cookie']);
      expect(headers).to.deep.equal({ 'Set-Cookie': ['mine=1'], 'Cache-Control': 'private', Vary: 'Accept' });
    });

    it('restores the cookie where the error itself says Vary: Cookie', async () => {
      const { visitor } = await createSite({
        '/': (ctx) => {
          ctx.session.a = 1;
          ctx.throw(401, { headers: { Vary: 'Cookie' } });
        },
      });
      const { setCookie, headers } = await visitor().get('/');
      expect([names(setCookie), headers.vary]).to.deep.equal([['wsession'], 'Cookie']);
    });

    it("of a middleware in front of the session's, once the session is stored, delivers the cookie", async () => {
      const store = new MemoryStore();
      const { visitor } = await createSite(
        { '/': write, '/get': (ctx) => ctx.session.a ?? null },
        {
          store,
          before: [
            async (ctx, next) => {
              await next();
              if (ctx.path === '/') ctx.throw(500, 'afterwards');
            },
          ],
        },
      );
      const ada = visitor();
      const { status, setCookie } = await ada.get('/');
      expect([status, names(setCookie)]).to.deep.equal([500, ['wsession']]);
      expect((await ada.get('/get')).json()).to.equal(1);
    });

    it('that a middleware in front catches and responds to itself delivers the cookie', async () => {
      for (const answer of [
        (ctx: Koa.Context) => {
          ctx.body = 'handled';
        },
        (ctx: Koa.Context) => {
          for (const name of ctx.res.getHeaderNames()) ctx.remove(name);
          ctx.body = { error: 'handled' };
        },
        (ctx: Koa.Context) => {
          for (const name of ctx.res.getHeaderNames()) ctx.remove(name);
          ctx.respond = false;
          ctx.res.statusCode = 200;
          ctx.res.end('handled');
        },
      ]) {
        const { visitor } = await createSite(
          {
            '/': (ctx) => {
              ctx.session.a = 1;
              throw new Error('mine');
            },
          },
          {
            before: [
              (ctx, next) =>
                next().catch(() => {
                  ctx.status = 200;
                  answer(ctx);
                }),
            ],
          },
        );
        const { status, setCookie, body, headers } = await visitor().get('/');
        expect([status, names(setCookie), headers['cache-control']]).to.deep.equal([200, ['wsession'], 'no-store']);
        expect(body).to.include('handled');
      }
    });

    it('shared by two visitors never carries a cookie from one to the other', async () => {
      const shared = Object.assign(new Error('one object for all'), { status: 403, expose: true });
      const { visitor } = await createSite({
        '/': (ctx) => {
          ctx.session.name = ctx.query.name;
          throw shared;
        },
        '/read': () => {
          throw shared;
        },
        '/get': (ctx) => ctx.session.name ?? null,
      });
      const [ada, bob, eve] = [visitor(), visitor(), visitor()];
      await Promise.all([ada.get('/?name=ada'), bob.get('/?name=bob')]);
      const { setCookie, headers } = await eve.get('/read');
      expect([setCookie, headers.vary]).to.deep.equal([[], undefined]);
      expect(Object.keys(shared).sort()).to.deep.equal(['expose', 'status']);
      expect((await ada.get('/get')).json()).to.equal('ada');
      expect((await bob.get('/get')).json()).to.equal('bob');
    });

    it('shared by two visitors keeps the headers that it has', async () => {
      const headers = Object.freeze({ 'X-Mine': '1' });
      const shared = Object.freeze(Object.assign(new Error('frozen'), { status: 403, headers }));
      const { visitor } = await createSite(
        {
          '/': (ctx) => {
            ctx.session.a = 1;
            ctx.cookies.set('other', '1');
            throw shared;
          },
        },
        {
          before: [
            (ctx, next) =>
              next().catch((error) => {
                expect(error).to.equal(shared);
                ctx.throw(403, { headers: error.headers });
              }),
          ],
        },
      );
      const reply = await visitor().get('/');
      expect([reply.headers['x-mine'], names(reply.setCookie)]).to.deep.equal(['1', ['wsession']]);
      expect(shared.headers).to.deep.equal({ 'X-Mine': '1' });
    });

    it('of a session that ended carries no cookie of the session, not even that of an earlier save', async () => {
      const store = stubStore();
      store.update.returns({ outcome: 'gone' }).onFirstCall().returns(UPDATED);
      const { visitor } = await createSite(
        {
          '/': async (ctx) => {
            ctx.session.a = 1;
            await ctx.session.save();
            ctx.session.a = 2;
          },
        },
        { store: asStore(store) },
      );
      const { status, setCookie } = await visitor().get('/', { headers: { cookie: SOME_COOKIE } });
      expect([status, setCookie]).to.deep.equal([409, []]);
    });
  });

  describe('says Vary: Cookie', () => {
    const varied = async (before: string | string[] | undefined, handler: Step = (ctx) => void ctx.session) => {
      const { headers } = await inRequest((ctx) => {
        if (before !== undefined) ctx.res.setHeader('Vary', before);
        return handler(ctx);
      });
      return headers.vary;
    };

    it('where the session was used, in whatever way, and only there', async () => {
      expect(await varied(undefined, () => 'untouched')).to.equal(undefined);
      const touches: Step[] = [
        (ctx) => void ctx.session,
        (ctx) => void ctx.session.a,
        (ctx) => void ('a' in ctx.session),
        (ctx) => void (ctx.session = null),
        (ctx) => void (ctx.session = {}),
        write,
      ];
      for (const touch of touches) expect(await varied(undefined, touch)).to.equal('Cookie');
    });

    it('once, next to what was there', async () => {
      for (const [before, after] of [
        ['Accept', 'Accept, Cookie'],
        ['Accept, Origin', 'Accept, Origin, Cookie'],
        [['Accept', 'Origin'], 'Accept,Origin, Cookie'],
        ['cookie', 'cookie'],
        ['COOKIE , Accept', 'COOKIE , Accept'],
        ['Accept,Cookie', 'Accept,Cookie'],
        [['Accept', 'Cookie'], 'Accept, Cookie'],
        ['*', '*'],
        ['Accept, *', 'Accept, *'],
        ['X-Cookie', 'X-Cookie, Cookie'],
        ['Cookies', 'Cookies, Cookie'],
        ['Set-Cookie', 'Set-Cookie, Cookie'],
      ] as const) {
        expect(await varied(before as string | string[]), String(before)).to.equal(after);
      }
    });

    it('next to what replaces it afterwards', async () => {
      expect(
        await varied(undefined, (ctx) => {
          ctx.session.a;
          ctx.set('Vary', 'Accept-Language');
        }),
      ).to.equal('Accept-Language, Cookie');
    });

    it('on an error after the session was read, and on the page of an outage', async () => {
      const store = stubStore();
      const { visitor } = await createSite(
        {
          '/': (ctx) => {
            if (!ctx.session.user) ctx.throw(404);
          },
        },
        { store: asStore(store) },
      );
      const anonymous = await visitor().get('/');
      expect([anonymous.status, anonymous.headers.vary]).to.deep.equal([404, 'Cookie']);
      store.load.rejects(new Error('down'));
      const down = await visitor().get('/', { headers: { cookie: SOME_COOKIE } });
      expect([down.status, down.headers.vary]).to.deep.equal([503, 'Cookie']);
    });

    it('next to what is added afterwards', async () => {
      expect(
        await varied(undefined, (ctx) => {
          ctx.session.a;
          ctx.vary('Origin');
        }),
      ).to.equal('Cookie, Origin');
    });
  });

  describe('with a token is for one visitor:', () => {
    /** The headers for caches, of a response that sets these before or after the session is saved. */
    async function cached(headers: Record<string, string>, when: 'before' | 'after' | 'without a token') {
      const reply = await inRequest(async (ctx) => {
        if (when === 'before') ctx.set(headers);
        if (when !== 'without a token') {
          ctx.session.a = 1;
          await ctx.session.save();
        } else ctx.session.a;
        if (when !== 'before') ctx.set(headers);
      });
      const { 'cache-control': control, ...others } = reply.headers;
      const cdn = Object.keys(others).filter((name) => /cdn|surrogate|accel/.test(name));
      return [control, cdn];
    }

    for (const when of ['before', 'after'] as const) {
      it(`Cache-Control that was set ${when} the token becomes private`, async () => {
        for (const [given, expected] of [
          ['public', 'private'],
          ['public, max-age=60', 'max-age=60, private'],
          ['max-age=60', 'max-age=60, private'],
          ['s-maxage=60, max-age=5', 'max-age=5, private'],
          ['Public , S-MaxAge=60', 'private'],
          ['no-cache', 'no-cache, private'],
          ['private, max-age=60', 'private, max-age=60'],
          ['no-store', 'no-store'],
        ] as const)
          expect(await cached({ 'Cache-Control': given }, when), given).to.deep.equal([expected, []]);
      });

      it(`headers for a CDN that were set ${when} the token are removed`, async () => {
        const headers = {
          'CDN-Cache-Control': 'max-age=60',
          'Cloudflare-CDN-Cache-Control': 'max-age=60',
          'Surrogate-Control': 'max-age=60',
          'X-Accel-Expires': '60',
        };
        expect(await cached(headers, when)).to.deep.equal(['no-store', []]);
      });
    }

    it('without one, all of them stay as they are', async () => {
      const headers = { 'Cache-Control': 'public, s-maxage=60', 'CDN-Cache-Control': 'max-age=60' };
      expect(await cached(headers, 'without a token')).to.deep.equal(['public, s-maxage=60', ['cdn-cache-control']]);
      expect(await cached({}, 'without a token')).to.deep.equal([undefined, []]);
    });
  });

  it('to HEAD carries the cookie', async () => {
    const { visitor } = await createSite({ '/': write });
    const { status, setCookie, body } = await visitor().request('HEAD', '/');
    expect([status, names(setCookie), body]).to.deep.equal([200, ['wsession'], '']);
  });

  it('without a body, with a redirect, and not modified carries the cookie', async () => {
    for (const [status, finish] of [
      [204, (ctx: Koa.Context) => void (ctx.status = 204)],
      [302, (ctx: Koa.Context) => ctx.redirect('/x')],
      [304, (ctx: Koa.Context) => void (ctx.status = 304)],
    ] as const) {
      const { visitor } = await createSite({
        '/': (ctx) => {
          ctx.session.a = 1;
          finish(ctx);
          ctx.body ??= null;
          ctx.status = status;
        },
      });
      const reply = await visitor().get('/');
      expect([reply.status, names(reply.setCookie)]).to.deep.equal([status, ['wsession']]);
    }
  });

  it('as a stream carries the cookie', async () => {
    const { visitor } = await createSite({
      '/': (ctx) => {
        ctx.session.a = 1;
        ctx.body = Readable.from(['a', 'b']);
      },
    });
    const { setCookie, body } = await visitor().get('/');
    expect([names(setCookie), body]).to.deep.equal([['wsession'], 'ab']);
  });

  it('is not begun before the save is done', async () => {
    const store = stubStore();
    const answer = new Gate<unknown>();
    store.create.returns(answer.passed);
    let response: Koa.Context['res'] | undefined;
    const { visitor } = await createSite(
      {
        '/': (ctx) => {
          response = ctx.res;
          ctx.session.a = 1;
          ctx.body = 'x';
        },
      },
      { store: asStore(store) },
    );
    const reply = visitor().get('/');
    while (!store.create.called) await nextTurn();
    for (let i = 0; i < 5; i++) await nextTurn();
    expect([response?.headersSent, response?.writableEnded]).to.deep.equal([false, false]);
    answer.open({ outcome: 'created' });
    expect((await reply).status).to.equal(200);
  });

  describe('that the handler sends itself', () => {
    const raw = (before: Step, after: Step): Step => {
      return async (ctx) => {
        ctx.respond = false;
        await before(ctx);
        ctx.res.writeHead(200, { 'X-Raw': '1' });
        ctx.res.end('raw');
        await after(ctx);
      };
    };

    it('carries the cookie of what was saved before', async () => {
      const { visitor, errors } = await createSite({
        '/': raw(
          async (ctx) => {
            ctx.session.a = 1;
            await ctx.session.save();
          },
          () => undefined,
        ),
      });
      const { setCookie, body } = await visitor().get('/');
      expect([names(setCookie), body, errors]).to.deep.equal([['wsession'], 'raw', []]);
    });

    it('still stores what changed afterwards in a session that exists', async () => {
      const { visitor, errors } = await createSite({
        '/': write,
        '/raw': raw(
          () => undefined,
          (ctx) => void (ctx.session.a = 2),
        ),
        '/get': (ctx) => ctx.session.a,
      });
      const ada = visitor();
      await ada.get('/');
      expect((await ada.get('/raw')).setCookie).to.deep.equal([]);
      expect((await ada.get('/get')).json()).to.equal(2);
      expect(errors).to.deep.equal([]);
    });

    it('can not begin a session any more: a LateError is reported, and no record created', async () => {
      const store = stubStore();
      const site = await createSite({ '/': raw(() => undefined, write) }, { store: asStore(store) });
      const reported = site.nextError();
      const { status, setCookie } = await site.visitor().get('/');
      const { code, keys } = await reported;
      expect([status, setCookie, code, keys]).to.deep.equal([200, [], 'WSESSION_LATE', ['a']]);
      expect(store.create.callCount).to.equal(0);
    });

    it('can still end the session, without the cookie', async () => {
      const store = stubStore();
      const { visitor, errors } = await createSite(
        {
          '/': raw(
            () => undefined,
            (ctx) => ctx.session.destroy(),
          ),
        },
        { store: asStore(store) },
      );
      const { status, setCookie } = await visitor().get('/', { headers: { cookie: SOME_COOKIE } });
      expect([status, setCookie, store.destroy.callCount, errors]).to.deep.equal([200, [], 1, []]);
    });
  });

  it('to a client that hung up is not sent, and the save happens once', async () => {
    const store = new MemoryStore();
    const create = spy(store, 'create');
    const [arrived, closed] = [new Gate(), new Gate()];
    const finished = new Gate();
    const app = new Koa();
    const errors: unknown[] = [];
    app.on('error', (error) => errors.push(error));
    app.use(async (_ctx, next) => {
      await next().finally(() => finished.open());
    });
    app.use(session(store));
    app.use(async (ctx) => {
      if (ctx.path !== '/') return;
      ctx.session.a = 1;
      ctx.res.once('close', closed.open);
      arrived.open();
      await closed.passed;
      ctx.body = 'too late';
    });
    const served = await serveApp(app);
    const outgoing = httpRequest(served.url, { agent: false });
    outgoing.on('error', () => undefined);
    outgoing.end();
    await arrived.passed;
    outgoing.destroy();
    await finished.passed;
    await nextTurn();
    expect([create.callCount, errors]).to.deep.equal([1, []]);
    expect((await new Client(served).get('/another')).status).to.equal(404);
  });

  it('to a client whose connection broke while the handler was busy: the save happens', async () => {
    const [arrived, broken, released, finished] = [new Gate(), new Gate(), new Gate(), new Gate()];
    const { visitor, served } = await createSite(
      {
        '/set': (ctx) => void (ctx.session.a = 1),
        '/': async (ctx) => {
          ctx.app.once('error', () => broken.open());
          arrived.open();
          await released.passed;
          ctx.session.b = 2;
        },
        '/get': (ctx) => ({ ...ctx.session }),
      },
      { before: [(ctx, next) => next().finally(() => ctx.path === '/' && finished.open())] },
    );
    const ada = visitor();
    await ada.get('/set');
    const socket = connect(served.port);
    socket.write(`GET / HTTP/1.1\r\nHost: a\r\nCookie: ${ada.cookie}\r\n\r\n`);
    await arrived.passed;
    socket.resetAndDestroy();
    await broken.passed;
    released.open();
    await finished.passed;
    expect((await ada.get('/get')).json()).to.deep.equal({ a: 1, b: 2 });
  });

  it('to a client whose connection broke during an outage: the handler gets the 503, also after an error listener', async () => {
    const store = stubStore();
    store.load.rejects(new Error('down'));
    const [arrived, broken, released, failed] = [new Gate(), new Gate(), new Gate(), new Gate<unknown>()];
    const { app, served } = await createSite(
      {
        '/': async (ctx) => {
          arrived.open();
          await released.passed;
          failed.open(await errorOf(() => ctx.session.a));
        },
      },
      { store: asStore(store) },
    );
    app.once('error', (_error, ctx: Koa.Context) => {
      ctx.session.a;
      broken.open();
    });
    const socket = connect(served.port);
    socket.write(`GET / HTTP/1.1\r\nHost: a\r\nCookie: ${SOME_COOKIE}\r\n\r\n`);
    await arrived.passed;
    socket.resetAndDestroy();
    await broken.passed;
    released.open();
    expect(await failed.passed).to.have.property('code', 'WSESSION_UNAVAILABLE');
  });
});

for (const http2 of [false, true]) {
  describe(`the cookie over HTTP/${http2 ? 2 : 1}`, () => {
    afterEach(tidy);

    /** The names of the cookies of a response past Koa, which begins after the session is saved. */
    async function sent(respond: (res: ServerResponse) => unknown): Promise<Array<string | undefined>> {
      const { visitor, errors } = await createSite(
        {
          '/': async (ctx) => {
            ctx.respond = false;
            ctx.res.statusCode = 200;
            ctx.session.a = 1;
            await ctx.session.save();
            await respond(ctx.res);
          },
        },
        { http2 },
      );
      const { setCookie, body, status } = await visitor().get('/');
      expect([status, body, errors]).to.deep.equal([200, 'raw', []]);
      return names(setCookie);
    }

    const begins: Record<string, (res: ServerResponse) => unknown> = {
      'writeHead()': (res) => res.writeHead(200).end('raw'),
      'writeHead() and a reason phrase': (res) => res.writeHead(200, 'Fine').end('raw'),
      'write()': (res) => {
        res.write('ra');
        res.end('w');
      },
      'flushHeaders()': (res) => {
        res.flushHeaders();
        res.end('raw');
      },
      'end()': (res) => res.end('raw'),
      'a pipe': (res) => Readable.from(['ra', 'w']).pipe(res),
    };
    for (const [begin, respond] of Object.entries(begins))
      it(`survives a later setHeader('Set-Cookie', …) and ${begin}`, async () => {
        const cookies = await sent((res) => {
          res.setHeader('Set-Cookie', 'x=1');
          return respond(res);
        });
        expect(cookies).to.deep.equal(['x', 'wsession']);
      });

    const headers: Record<string, (res: ServerResponse) => unknown> = {
      'an object': (res) => res.writeHead(200, { 'set-cookie': 'x=1' }),
      'an object with a list of values': (res) => res.writeHead(200, { 'Set-Cookie': ['x=1'] }),
      'an object after a reason phrase': (res) => res.writeHead(200, 'Fine', { 'Set-Cookie': 'x=1' }),
      'a flat list': (res) => res.writeHead(200, ['Set-Cookie', 'x=1']),
      'a list of pairs': (res) => res.writeHead(200, [['Set-Cookie', 'x=1']] as never),
      ...(!http2 && {
        'setHeaders(new Headers(…))': (res) => res.setHeaders(new Headers({ 'Set-Cookie': 'x=1' })),
      }),
    };
    for (const [how, set] of Object.entries(headers))
      it(`survives a cookie in the headers of writeHead(): ${how}`, async () => {
        const cookies = await sent((res) => {
          set(res);
          res.end('raw');
        });
        expect(cookies).to.deep.equal(['x', 'wsession']);
      });

    it('survives the headers of writeHead() that have nothing to do with it, which all arrive', async () => {
      const { visitor } = await createSite(
        {
          '/': async (ctx) => {
            ctx.respond = false;
            ctx.session.a = 1;
            ctx.res.setHeader('X-Before', '1');
            ctx.res.writeHead(201, {
              'X-Before': '2',
              'X-List': ['a', 'b'],
              'Content-Type': 'text/plain',
              'X-None': undefined,
            });
            ctx.res.end('raw');
          },
        },
        { http2 },
      );
      const { status, headers, setCookie } = await visitor().get('/');
      expect([
        status,
        headers['x-before'],
        headers['x-list'],
        headers['content-type'],
        headers['x-none'],
      ]).to.deep.equal([201, '2', 'a, b', 'text/plain', undefined]);
      expect(names(setCookie)).to.deep.equal(['wsession']);
    });

    it('survives the headers of writeHead() behind a reason phrase that is missing', async () => {
      for (const reason of [undefined, null]) {
        const { visitor } = await createSite(
          {
            '/': (ctx) => {
              ctx.respond = false;
              ctx.session.a = 1;
              ctx.res.writeHead(201, reason as never, { 'X-Raw': '1' });
              ctx.res.end('raw');
            },
          },
          { http2 },
        );
        const { status, headers, setCookie } = await visitor().get('/');
        expect([status, headers['x-raw'], names(setCookie)]).to.deep.equal([201, '1', ['wsession']]);
      }
    });

    it('is sent once where the same line is set again', async () => {
      const cookies = await sent((res) => {
        res.setHeader('Set-Cookie', [...(res.getHeader('Set-Cookie') as string[])].reverse());
        res.end('raw');
      });
      expect(cookies).to.deep.equal(['wsession']);
    });

    it('of which another middleware rewrote the line is left as it rewrote it', async () => {
      const { visitor } = await createSite(
        {
          '/': async (ctx) => {
            ctx.session.a = 1;
            await ctx.session.save();
            const lines = (ctx.res.getHeader('Set-Cookie') as string[]).map((line) => `${line}; Rewritten`);
            ctx.res.setHeader('Set-Cookie', ['other=1', ...lines]);
          },
        },
        { http2 },
      );
      const { setCookie } = await visitor().get('/');
      expect([names(setCookie), setCookie[1]?.endsWith('; Rewritten')]).to.deep.equal([['other', 'wsession'], true]);
    });

    const removals: Record<string, [before: string[], remove: (res: ServerResponse) => unknown, left: string[]]> = {
      'the whole header, while Vary is there': [['a=1'], (res) => res.removeHeader('Set-Cookie'), []],
      'an empty list': [['a=1'], (res) => res.setHeader('Set-Cookie', []), []],
      'an empty list, without Vary': [
        [],
        (res) => {
          res.removeHeader('Vary');
          res.setHeader('Set-Cookie', []);
        },
        [],
      ],
      'ours alone, while others are there': [
        ['a=1', 'b=2'],
        (res) =>
          res.setHeader(
            'Set-Cookie',
            (res.getHeader('Set-Cookie') as string[]).filter((line) => !line.startsWith('wsession=')),
          ),
        ['a', 'b'],
      ],
    };
    for (const [what, [before, remove, left]] of Object.entries(removals))
      it(`that was removed on purpose stays removed: ${what}`, async () => {
        const { visitor } = await createSite(
          {
            '/': async (ctx) => {
              ctx.res.setHeader('Set-Cookie', before);
              ctx.session.a = 1;
              await ctx.session.save();
              remove(ctx.res);
            },
          },
          { http2 },
        );
        expect(names((await visitor().get('/')).setCookie)).to.deep.equal(left);
      });

    it('that others overwrote in the very list that was set is added to theirs', async () => {
      const { visitor } = await createSite(
        {
          '/': async (ctx) => {
            ctx.session.a = 1;
            await ctx.session.save();
            const list = ctx.res.getHeader('Set-Cookie') as string[];
            list.splice(0, list.length, 'other=1');
          },
        },
        { http2 },
      );
      expect(names((await visitor().get('/')).setCookie)).to.deep.equal(['other', 'wsession']);
    });

    it('that was removed on purpose by a middleware in front stays removed', async () => {
      const { visitor } = await createSite(
        { '/': write },
        {
          http2,
          before: [
            async (ctx, next) => {
              await next();
              ctx.remove('Set-Cookie'); // a page for a cache, say
            },
          ],
        },
      );
      expect((await visitor().get('/')).setCookie).to.deep.equal([]);
    });

    it('that was removed on purpose by a middleware in front stays removed, next to cookies set since the save', async () => {
      const { visitor } = await createSite(
        {
          '/': async (ctx) => {
            ctx.session.a = 1;
            await ctx.session.save();
            ctx.cookies.set('other', '1');
          },
        },
        {
          http2,
          before: [
            async (ctx, next) => {
              await next();
              const lines = ctx.res.getHeader('Set-Cookie') as string[];
              ctx.res.setHeader(
                'Set-Cookie',
                lines.filter((line) => !line.startsWith('wsession=')),
              );
            },
          ],
        },
      );
      expect(names((await visitor().get('/')).setCookie)).to.deep.equal(['other']);
    });

    it('that was stripped together with everything else is restored', async () => {
      const cookies = await sent((res) => {
        for (const name of res.getHeaderNames()) res.removeHeader(name);
        res.end('raw');
      });
      expect(cookies).to.deep.equal(['wsession']);
    });

    for (const [status, fail] of [
      [401, (ctx: Koa.Context) => ctx.throw(401)],
      [500, () => Promise.reject(new Error('mine'))],
    ] as const)
      it(`that Koa's error handling stripped (${status}) is restored, with Vary and Cache-Control`, async () => {
        const { visitor } = await createSite(
          {
            '/': async (ctx) => {
              ctx.cookies.set('other', '1');
              ctx.session.a = 1;
              await ctx.session.save();
              return fail(ctx);
            },
          },
          { http2 },
        );
        const reply = await visitor().get('/');
        expect([reply.status, names(reply.setCookie)]).to.deep.equal([status, ['wsession']]);
        expect([reply.headers.vary, reply.headers['cache-control']]).to.deep.equal(['Cookie', 'no-store']);
      });

    it('that other cookies overwrote is added to them', async () => {
      for (const before of [[], ['a=1'], ['a=1', 'b=1'], ['a=2', 'b=1']]) {
        const { visitor } = await createSite(
          {
            '/': async (ctx) => {
              ctx.res.setHeader('Set-Cookie', before);
              ctx.session.a = 1;
              await ctx.session.save();
              ctx.set('Set-Cookie', ['a=2']);
              ctx.body = Readable.from(['x']);
            },
          },
          { http2 },
        );
        expect(names((await visitor().get('/')).setCookie), String(before)).to.deep.equal(['a', 'wsession']);
      }
    });

    it('of a save that is undone goes, and the others stay', async () => {
      const store = stubStore();
      store.update.returns({ outcome: 'gone' }).onFirstCall().returns(UPDATED);
      const { visitor } = await createSite(
        {
          '/': async (ctx) => {
            ctx.res.setHeader('Set-Cookie', 'a=1');
            ctx.session.a = 1;
            await ctx.session.save();
            ctx.session.b = 1;
            await errorOf(() => ctx.session.save());
            delete ctx.session.b;
            ctx.res.setHeader('Set-Cookie', ['a=2']);
          },
        },
        { store: asStore(store), http2 },
      );
      const { status, setCookie } = await visitor().get('/', { headers: { cookie: SOME_COOKIE } });
      expect([status, names(setCookie)]).to.deep.equal([200, ['a']]);
    });
  });
}
