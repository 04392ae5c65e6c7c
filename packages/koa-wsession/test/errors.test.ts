import { expect } from 'chai';
import Koa from 'koa';
import * as entry from 'koa-wsession';
import {
  CookieSizeError,
  DuplicateMiddlewareError,
  GoneError,
  InsecureError,
  LateError,
  MiddlewareOrderError,
  NoResponseError,
  NotFreshError,
  OptionError,
  PathError,
  ReservedError,
  SessionError,
  SessionLimitError,
  SessionSizeError,
  UnavailableError,
  UnprovenError,
  UnsupportedError,
  ValueError,
} from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import { Client } from 'testkit/http';
import { asStore, createSite, type Handler, OpenStore, SOME_COOKIE, serveApp, stubStore, tidy } from './helpers.js';

describe('the errors', () => {
  afterEach(tidy);

  const all = [
    new OptionError('name', 'mysecret', 'a name'),
    new ValueError('session.a', 'is a function.'),
    new ReservedError('save'),
    new GoneError(),
    new UnavailableError('The session store failed: down', new Error('down')),
    new InsecureError(),
    new PathError('/app'),
    new CookieSizeError(5000, 4096, [['a', 4900]]),
    new LateError(['a']),
    new DuplicateMiddlewareError('wsession'),
    new MiddlewareOrderError(),
    new NoResponseError(['a']),
    new NotFreshError(300),
    new SessionLimitError(3),
    new SessionSizeError(200, 100, [['a', 190]]),
    new UnsupportedError('A list', 'use another.'),
    new UnprovenError(),
  ];

  it('are these, and no others', () => {
    const classes = Object.entries(entry).filter(([name, one]) => one instanceof Function && name.endsWith('Error'));
    const names = [...all.map((error) => error.constructor.name), 'SessionError'];
    expect(classes.map(([name]) => name).sort()).to.deep.equal(names.sort());
  });

  it('have a code and a name each, which say the same', () => {
    const expected = {
      OptionError: 'WSESSION_OPTION',
      ValueError: 'WSESSION_VALUE',
      ReservedError: 'WSESSION_RESERVED',
      GoneError: 'WSESSION_GONE',
      UnavailableError: 'WSESSION_UNAVAILABLE',
      InsecureError: 'WSESSION_INSECURE',
      CookieSizeError: 'WSESSION_COOKIE_SIZE',
      LateError: 'WSESSION_LATE',
      PathError: 'WSESSION_PATH',
      DuplicateMiddlewareError: 'WSESSION_DUPLICATE',
      MiddlewareOrderError: 'WSESSION_ORDER',
      NoResponseError: 'WSESSION_NO_RESPONSE',
      NotFreshError: 'WSESSION_NOT_FRESH',
      SessionLimitError: 'WSESSION_LIMIT',
      SessionSizeError: 'WSESSION_SIZE',
      UnsupportedError: 'WSESSION_UNSUPPORTED',
      UnprovenError: 'WSESSION_UNPROVEN',
    };
    expect(Object.fromEntries(all.map(({ name, code }) => [name, code]))).to.deep.equal(expected);
    for (const error of all) {
      expect(error).to.be.instanceOf(Error);
      expect(error.name).to.equal(error.constructor.name);
      expect(String(error.stack)).to.include(error.message);
    }
  });

  it('that are mistakes in a program are TypeErrors; those that become a response are SessionErrors with a status', () => {
    const statuses: Record<string, unknown> = {};
    for (const error of all) {
      if (error instanceof SessionError) statuses[error.name] = [error.status, error.expose];
      else expect(error).to.be.instanceOf(TypeError);
    }
    expect(statuses).to.deep.equal({
      GoneError: [409, true],
      UnavailableError: [503, false],
      InsecureError: [500, false],
      CookieSizeError: [500, false],
      LateError: [500, false],
      PathError: [500, false],
      DuplicateMiddlewareError: [500, false],
      MiddlewareOrderError: [500, false],
      NoResponseError: [500, false],
      NotFreshError: [401, true],
      SessionLimitError: [403, true],
      SessionSizeError: [500, false],
      UnsupportedError: [500, false],
      UnprovenError: [503, false],
    });
  });

  it('say what happened, to what, and what to do', () => {
    const message = (type: { prototype: Error }) =>
      all.find((error) => error.constructor.prototype === type.prototype)?.message;
    expect(message(OptionError)).to.equal('Invalid option name: expected a name, got "mysecret"');
    expect(message(ValueError)).to.equal('session.a is a function.');
    expect(message(ReservedError)).to.match(/^session\.save can't be assigned.* under another key\.$/);
    expect(message(GoneError)).to.match(/ended .* not stored: send the request again\.$/);
    expect(message(UnavailableError)).to.match(/^The session store failed: down\. A write in progress may have/);
    expect(message(InsecureError)).to.match(/secure: true.*plain http.*app\.proxy = true/);
    expect(message(PathError)).to.match(/the path \/app.*widen the option path/);
    expect(message(CookieSizeError)).to.match(/5000 bytes.*4096.*"a" \(4900 bytes\).*Store less/);
    expect(message(LateError)).to.match(/after the response's headers were sent \("a"\).*ctx\.session\.save\(\)/);
    expect(message(NoResponseError)).to.match(/\("a"\).*sessions\.open\(request, { response }\)/);
    expect(message(DuplicateMiddlewareError)).to.match(/Two session middlewares named "wsession".*remove one/);
    expect(message(MiddlewareOrderError)).to.match(/has not run.*app\.use\(session\(…\)\)/);
    expect(message(NotFreshError)).to.match(/in the last 300 seconds: enter the password again\.$/);
    expect(new NotFreshError().message).to.equal('Nobody is logged in: log in first.');
    expect(message(SessionLimitError)).to.match(/logged in in 3 places already.*log out there first\.$/);
    expect(new SessionLimitError(1).message).to.include('logged in elsewhere already');
    expect(message(SessionSizeError)).to.match(
      /needs 200 bytes, and maxBytes is 100.*"a" \(190 bytes\).*raise maxBytes\.$/,
    );
    expect(message(UnsupportedError)).to.equal('A list is not supported by this store: use another.');
    expect(new LateError([]).message).to.include('(a new cookie is needed)');
  });

  it('have properties for what a program needs', () => {
    const cause = new Error('ECONNREFUSED');
    expect(new UnavailableError('It failed.', cause).cause).to.equal(cause);
    expect('cause' in new UnavailableError('It failed.')).to.equal(false);
    expect(new ValueError('session.a[0]', 'is bad.').path).to.equal('session.a[0]');
    expect(new LateError(['a', 'b']).keys).to.deep.equal(['a', 'b']);
    const sizes = [
      ['a', 1],
      ['b', 9],
      ['c', 5],
      ['d', 7],
    ] as const;
    const error = new CookieSizeError(22, 20, sizes);
    expect([error.bytes, error.largest]).to.deep.equal([22, ['b', 'd', 'c']]);
  });

  it('never hold a token, an id or a value, and Koa shows the visitor no more than it should', async () => {
    const secret = 'correct horse battery staple';
    const cases: Array<[status: number, body: string | RegExp, handler: (ctx: Koa.Context) => unknown]> = [
      [500, 'Internal Server Error', (ctx) => void (ctx.session.a = { secret, bad: () => secret })],
      [500, 'Internal Server Error', (ctx) => void (ctx.session.save = secret as never)],
      [500, 'Internal Server Error', (ctx) => void (ctx.session.maxAge = { secret } as never)],
      [500, 'Internal Server Error', (ctx) => void (ctx.session.a = Object.assign(new Map(), { secret }))],
      [409, /^The session ended/, (ctx) => void (ctx.session.a = secret)],
    ];
    for (const [status, body, handler] of cases) {
      const store = stubStore();
      store.update.returns({ outcome: 'gone' });
      const { visitor, errors } = await createSite({ '/': handler }, { store: asStore(store), keys: [secret] });
      const cookie = await signedCookie(secret);
      const reply = await visitor().get('/', { headers: { cookie } });
      expect(reply.status).to.equal(status);
      if (typeof body === 'string') expect(reply.body).to.equal(body);
      else expect(reply.body).to.match(body);
      const [error] = errors;
      const texts = [String(error?.stack), JSON.stringify(error), ...Object.values(error ?? {}).map(String)];
      for (const text of texts) {
        expect(text).to.not.include(secret);
        expect(text).to.not.include(cookie.split('=')[1]?.slice(0, 32));
      }
    }
  });

  async function signedCookie(secret: string): Promise<string> {
    const { visitor } = await createSite({ '/': (ctx) => void (ctx.session.a = 1) }, { keys: [secret] });
    const client = visitor();
    await client.get('/');
    return client.cookie;
  }

  it('of a failed save come first: the response is a 503, whatever the handler threw, and that is reported', async () => {
    const thrown = [
      (ctx: Koa.Context) => ctx.throw(401, 'mine'),
      () => {
        throw new RangeError('mine');
      },
      () => {
        throw 'mine'; // no error at all
      },
    ];
    for (const fail of thrown) {
      const store = stubStore();
      store.update.rejects(new Error('down'));
      const { visitor, errors } = await createSite(
        {
          '/': (ctx) => {
            ctx.session.a = 1;
            fail(ctx);
          },
        },
        { store: asStore(store) },
      );
      const { status, setCookie, body } = await visitor().get('/', { headers: { cookie: SOME_COOKIE } });
      expect([status, setCookie, body]).to.deep.equal([503, [], 'Service Unavailable']);
      expect(errors.map(({ message }) => /mine|The session store failed/.exec(message)?.[0])).to.deep.equal([
        'mine',
        'The session store failed',
      ]);
    }
  });

  it('of a save() that the handler awaits are reported once', async () => {
    const store = stubStore();
    store.update.rejects(new Error('down'));
    const { visitor, errors } = await createSite(
      {
        '/': async (ctx) => {
          ctx.session.a = 1;
          await ctx.session.save();
        },
      },
      { store: asStore(store) },
    );
    expect((await visitor().get('/', { headers: { cookie: SOME_COOKIE } })).status).to.equal(503);
    expect(errors.map(({ code }) => code)).to.deep.equal(['WSESSION_UNAVAILABLE']);
  });

  it("of a request that changed nothing are the handler's own", async () => {
    const { visitor, errors } = await createSite({
      '/': (ctx) => {
        ctx.session.user;
        ctx.throw(403, 'mine');
      },
      '/untouched': (ctx) => ctx.throw(404, 'mine'),
    });
    for (const [path, status] of [
      ['/', 403],
      ['/untouched', 404],
    ] as const)
      expect((await visitor().get(path)).status).to.equal(status);
    expect(errors.map(({ message }) => message)).to.deep.equal(['mine', 'mine']);
  });

  describe('CookieSizeError', () => {
    it('names the bytes and the largest keys, and no cookie is set', async () => {
      const { visitor, errors } = await createSite(
        {
          '/': (ctx) => {
            Object.assign(ctx.session, { small: 1, big: 'x'.repeat(4000), bigger: 'y'.repeat(5000) });
          },
        },
        { store: new OpenStore() },
      );
      const { status, setCookie } = await visitor().get('/');
      expect([status, setCookie]).to.deep.equal([500, []]);
      const error = errors[0] as unknown as CookieSizeError;
      expect(error).to.be.instanceOf(CookieSizeError);
      expect(error.largest).to.deep.equal(['bigger', 'big', 'small']);
      expect(error.bytes).to.be.greaterThan(12_000);
      expect(error.message).to.match(/"bigger" \(5008 bytes\), "big" \(4005 bytes\), "small" \(6 bytes\)/);
    });

    it('counts the bytes of name and value, to the last one', async () => {
      const sizes: number[] = [];
      const { visitor } = await createSite(
        { '/': (ctx) => void (ctx.session.a = 'x'.repeat(Number(ctx.query.n))) },
        { store: new OpenStore() },
      );
      for (let n = 2950; n < 3000; n++) {
        const { status, setCookie } = await visitor().get(`/?n=${n}`);
        const size = String(setCookie[0]?.split(';')[0]).length - '='.length;
        if (status === 200) sizes.push(size);
      }
      expect(Math.max(...sizes)).to.be.within(4090, 4096);
      expect(sizes.length).to.be.within(5, 49);
    });

    it('names every key of the session, even those that this request left alone', async () => {
      const { visitor, errors } = await createSite(
        {
          '/': (ctx) => void (ctx.session.old = 'x'.repeat(2000)),
          '/more': (ctx) => void (ctx.session.new = 'y'.repeat(1500)),
          '/get': (ctx) => Object.keys(ctx.session),
        },
        { store: new OpenStore() },
      );
      const ada = visitor();
      await ada.get('/');
      expect((await ada.get('/more')).status).to.equal(500);
      expect((errors[0] as unknown as CookieSizeError).largest).to.deep.equal(['old', 'new']);
      expect((await ada.get('/get')).json()).to.deep.equal(['old']);
    });
  });

  describe('InsecureError', () => {
    const store = () => new MemoryStore({ secure: true });

    it('is thrown by every way to write over plain http', async () => {
      const ways: Handler[] = [
        (ctx) => void (ctx.session.a = 1),
        (ctx) => void delete ctx.session.a,
        (ctx) => void (ctx.session = { a: 1 }),
        (ctx) => void (ctx.session.maxAge = 90_000_000),
        (ctx, sessions) => sessions.of(ctx).flash('a', 1),
        (ctx, sessions) => sessions.of(ctx).update('a', () => 1),
        (ctx, sessions) => sessions.of(ctx).logIn('ada'),
      ];
      for (const way of ways) {
        const { visitor, errors } = await createSite({ '/': way }, { store: store() });
        const { status, setCookie } = await visitor().get('/', { headers: { cookie: SOME_COOKIE } });
        expect([status, setCookie, errors[0]?.code]).to.deep.equal([500, [], 'WSESSION_INSECURE']);
      }
    });

    it('is not thrown by reading and ending, which do nothing', async () => {
      const { visitor } = await createSite(
        {
          '/': async (ctx, sessions) => {
            const { session } = ctx;
            const taken = await sessions.of(ctx).takeFlash('a');
            const seen = [session.a ?? null, taken, session.isNew, Object.keys(session)];
            await session.save();
            await session.regenerate();
            await session.destroy();
            ctx.session = null;
            return seen;
          },
        },
        { store: store() },
      );
      const { setCookie, body } = await visitor().get('/', { headers: { cookie: SOME_COOKIE } });
      expect([setCookie, body]).to.deep.equal([[], '[null,[],true,[]]']);
    });

    it('is not thrown behind a trusted proxy that ends TLS', async () => {
      const { visitor, app } = await createSite({ '/': (ctx) => void (ctx.session.a = 1) }, { store: store() });
      const headers = { 'x-forwarded-proto': 'https' };
      expect((await visitor().get('/', { headers })).status).to.equal(500);
      app.proxy = true;
      expect((await visitor().get('/', { headers })).status).to.equal(200);
      expect((await visitor().get('/')).status).to.equal(500);
    });
  });

  it('leave Koa as it is for a request without a session', async () => {
    const app = new Koa();
    app.silent = true;
    app.use(entry.session(new MemoryStore()));
    const { status, setCookie } = await new Client(await serveApp(app)).get('/');
    expect([status, setCookie]).to.deep.equal([404, []]);
  });
});
