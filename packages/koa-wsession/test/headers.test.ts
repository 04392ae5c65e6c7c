import { request as httpRequest } from 'node:http';
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
  Gate,
  type Handler,
  inRequest,
  SOME_COOKIE,
  serveApp,
  stubStore,
  tidy,
} from './helpers.js';

const names = (setCookie: readonly string[]) => setCookie.map((line) => line.split('=')[0]);
const write: Handler = (ctx) => void (ctx.session.a = 1);

describe('the response', () => {
  afterEach(tidy);

  describe('keeps the cookies of others', () => {
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
    it('delivers the cookie, with Cache-Control and Vary, and nothing else of before', async () => {
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
      expect([
        headers['cache-control'],
        headers.vary,
        headers['www-authenticate'],
        headers['x-mine'],
      ]).to.deep.equal(['no-store', 'Cookie', 'Basic', undefined]);
    });

    it('keeps what the error itself brings along', async () => {
      const headers = { 'Set-Cookie': ['mine=1'], 'Cache-Control': 'private', Vary: 'Accept' };
      const { visitor } = await createSite({
        '/': (ctx) => {
          ctx.session.a = 1;
          ctx.throw(401, { headers });
        },
      });
      const reply = await visitor().get('/');
      expect(names(reply.setCookie)).to.deep.equal(['mine', 'wsession']);
      expect([reply.headers['cache-control'], reply.headers.vary]).to.deep.equal([
        'private',
        'Accept, Cookie',
      ]);
      expect(headers).to.deep.equal({ 'Set-Cookie': ['mine=1'], 'Cache-Control': 'private', Vary: 'Accept' });
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

    it('that a middleware in front catches and answers by itself delivers the cookie', async () => {
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
        expect([status, names(setCookie), headers['cache-control']]).to.deep.equal([
          200,
          ['wsession'],
          'no-store',
        ]);
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

    it('of a session that ended carries no cookie of the session, also none of before', async () => {
      const store = stubStore();
      store.update.onFirstCall().returns({ outcome: 'updated' }).onSecondCall().returns({ outcome: 'gone' });
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
    const varied = async (
      before: string | string[] | undefined,
      handler: Handler = (ctx) => void ctx.session,
    ) => {
      const { headers } = await inRequest((ctx) => {
        if (before !== undefined) ctx.res.setHeader('Vary', before);
        return handler(ctx);
      });
      return headers.vary;
    };

    it('when the session was touched, in whatever way, and not else', async () => {
      expect(await varied(undefined, () => 'untouched')).to.equal(undefined);
      const touches: Handler[] = [
        (ctx) => void ctx.session,
        (ctx) => void ctx.session.a,
        (ctx) => void ('a' in ctx.session),
        (ctx) => void (ctx.session = null),
        (ctx) => void (ctx.session = {}),
        write,
      ];
      for (const touch of touches) expect(await varied(undefined, touch)).to.equal('Cookie');
    });

    it('once, beside what was there', async () => {
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

    it('beside what is added afterwards', async () => {
      expect(
        await varied(undefined, (ctx) => {
          ctx.session.a;
          ctx.vary('Origin');
        }),
      ).to.equal('Cookie, Origin');
    });
  });

  describe('says Cache-Control: no-store', () => {
    const controlled = async (handler: Handler) => (await inRequest(handler)).headers['cache-control'];

    it('when it sets the cookie, unless the handler says otherwise, before or afterwards', async () => {
      expect(await controlled((ctx) => void ctx.session.a)).to.equal(undefined);
      expect(await controlled(write)).to.equal('no-store');
      expect(
        await controlled((ctx) => {
          ctx.set('Cache-Control', 'private');
          return write(ctx);
        }),
      ).to.equal('private');
      expect(
        await controlled(async (ctx) => {
          ctx.session.a = 1;
          await ctx.session.save();
          ctx.set('Cache-Control', 'private');
        }),
      ).to.equal('private');
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

  describe('that the handler sends by itself', () => {
    const raw = (before: Handler, after: Handler): Handler => {
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

    it('still stores what changed in a session that exists', async () => {
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

    it('can not begin a session any more: a LateError is reported, and no record made', async () => {
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

  it('ends by the method that the response had, which is put back', async () => {
    const seen: unknown[] = [];
    const { visitor } = await createSite(
      {
        '/': async (ctx) => {
          ctx.session.a = 1;
          await ctx.session.save();
          ctx.session.a = 2;
        },
      },
      {
        before: [
          async (ctx, next) => {
            const { res } = ctx;
            const own = spy(res, 'end');
            res.once('finish', () => seen.push(own.callCount, (res.end as unknown) === own));
            await next();
          },
        ],
      },
    );
    await visitor().get('/');
    for (let i = 0; i < 3; i++) await nextTurn();
    expect(seen).to.deep.equal([1, true]);
  });
});
