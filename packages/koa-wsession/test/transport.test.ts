import { expect } from 'chai';
import { headerTransport, OptionError, session, type Transport } from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import { createSite, type Handler, inRequest, OpenStore, type SiteOptions, SOME_COOKIE, tidy } from './helpers.js';

const HEADER = headerTransport('X-Session');

const handlers: Record<string, Handler> = {
  '/': (ctx) => {
    ctx.session.n = (ctx.session.n ?? 0) + 1;
    return ctx.session.n;
  },
  '/read': (ctx) => ctx.session.n ?? null,
  '/end': (ctx) => ctx.session.destroy(),
  '/regenerate': (ctx) => ctx.session.regenerate(),
  '/throw': (ctx) => {
    ctx.session.n = 100;
    ctx.throw(401, 'no');
  },
  '/crash': (ctx) => {
    ctx.session.n = 200;
    throw new Error('mine');
  },
};

const build = (options: SiteOptions) => createSite(handlers, options);

describe("transport: headerTransport('X-Session')", () => {
  afterEach(tidy);

  for (const [kind, createStore] of [
    ['kept', () => new MemoryStore()],
    ['sealed', () => new OpenStore()],
  ] as const) {
    it(`carries a ${kind} session in the header, and in no cookie`, async () => {
      const site = await build({ store: createStore(), transport: HEADER });
      const client = site.visitor();
      const first = await client.get('/');
      const token = first.headers['x-session'] as string;
      expect([first.body, first.setCookie]).to.deep.equal(['1', []]);
      expect([first.headers.vary, first.headers['cache-control']]).to.deep.equal(['X-Session', 'no-store']);
      expect(token).to.match(/^[\w-]+$/);
      const second = await client.get('/', { headers: { 'x-session': token } });
      expect([second.body, second.setCookie]).to.deep.equal(['2', []]);
      const third = await client.get('/', { headers: { 'x-session': second.headers['x-session'] } });
      expect(third.body).to.equal('3');
    });
  }

  it('ignores cookies, and what is no token', async () => {
    const site = await build({ transport: HEADER });
    for (const headers of [
      { cookie: SOME_COOKIE },
      { 'x-session': '' },
      { 'x-session': 'x' },
      { 'x-session': 'A'.repeat(32) },
      { 'x-session': `${'A'.repeat(32)}, ${'B'.repeat(32)}` },
      { 'x-session': 'A'.repeat(8193) },
      {},
    ]) {
      const { status, body, headers: answered } = await site.visitor().get('/read', { headers });
      expect([status, body, answered['x-session'], answered.vary]).to.deep.equal([200, 'null', undefined, 'X-Session']);
    }
  });

  it('sends an empty header where the session ended', async () => {
    const site = await build({ transport: HEADER });
    const token = (await site.visitor().get('/')).headers['x-session'];
    const { headers, setCookie } = await site.visitor().get('/end', { headers: { 'x-session': token } });
    expect([headers['x-session'], setCookie]).to.deep.equal(['', []]);
    const { body } = await site.visitor().get('/read', { headers: { 'x-session': token } });
    expect(body).to.equal('null');
  });

  it('sends the new token alone after regenerate()', async () => {
    const site = await build({ transport: HEADER });
    const token = (await site.visitor().get('/')).headers['x-session'];
    const { headers } = await site.visitor().get('/regenerate', { headers: { 'x-session': token } });
    expect(headers['x-session'])
      .to.match(/^[\w-]{32}$/)
      .and.not.equal(token);
  });

  it('signs the ids', async () => {
    const site = await build({ transport: HEADER, keyring: ['secret'] });
    const token = (await site.visitor().get('/')).headers['x-session'] as string;
    expect(token).to.match(/^[\w-]{32}\.[\w-]{43}$/);
    for (const [sent, expected] of [
      [token, '1'],
      [token.slice(0, 32), 'null'],
    ]) {
      const { body } = await site.visitor().get('/read', { headers: { 'x-session': sent } });
      expect(body).to.equal(expected);
    }
  });

  it('is sent with an error, too', async () => {
    const site = await build({ transport: HEADER });
    const token = (await site.visitor().get('/')).headers['x-session'];
    for (const [path, status, n] of [
      ['/throw', 401, '100'],
      ['/crash', 500, '200'],
    ] as const) {
      for (const headers of [{ 'x-session': token }, {}]) {
        const reply = await site.visitor().get(path, { headers });
        expect([reply.status, reply.headers.vary, reply.headers['cache-control']]).to.deep.equal([
          status,
          'X-Session',
          'no-store',
        ]);
        const sent = { 'x-session': reply.headers['x-session'] };
        expect((await site.visitor().get('/read', { headers: sent })).body).to.equal(n);
      }
    }
  });

  it('refuses a token that is too long for it, and the error names the header', async () => {
    const transport = HEADER;
    for (const [length, status] of [
      [4000, 200],
      [8000, 500],
    ] as const) {
      const site = await createSite(
        {
          '/': (ctx) => void (ctx.session.big = 'x'.repeat(length)),
          '/read': (ctx) => ctx.session.big?.length,
        },
        { store: new OpenStore(), transport },
      );
      const reply = await site.visitor().get('/');
      const token = reply.headers['x-session'];
      expect([reply.status, token === undefined]).to.deep.equal([status, status === 500]);
      if (status === 200) {
        const { body } = await site.visitor().get('/read', { headers: { 'x-session': token } });
        expect(body, 'longer than a cookie can be').to.equal('4000');
      } else {
        expect(site.errors[0]).to.include({ code: 'WSESSION_COOKIE_SIZE' });
        expect(site.errors[0]?.message).to.match(/in the X-Session header, which holds 8192\. .+"big" \(8\d+ bytes\)/);
      }
    }
  });
});

describe("transport: [headerTransport('X-Session'), 'cookie']", () => {
  afterEach(tidy);
  const transport = [HEADER, 'cookie'] as const;

  it('responds by the transport that the request used; without one, by the last', async () => {
    const site = await build({ transport });
    const browser = site.visitor();
    const plain = await browser.get('/');
    expect([plain.setCookie.length, plain.headers['x-session'], plain.headers.vary]).to.deep.equal([
      1,
      undefined,
      'X-Session, Cookie',
    ]);
    const again = await browser.get('/');
    expect([again.body, again.setCookie.length, again.headers['x-session']]).to.deep.equal(['2', 1, undefined]);

    const app = await site.visitor().get('/', { headers: { 'x-session': '' } });
    const token = app.headers['x-session'] as string;
    expect([app.body, app.setCookie, token.length]).to.deep.equal(['1', [], 32]);
    expect(app.headers.vary).to.equal('X-Session, Cookie');
  });

  it('the header wins where it is sent, even empty or bad: the cookie is neither read nor set', async () => {
    const site = await build({ transport });
    const browser = site.visitor();
    await browser.get('/');
    const { cookie } = browser;
    const token = (await site.visitor().get('/', { headers: { 'x-session': '' } })).headers['x-session'];
    for (let i = 0; i < 3; i++) await site.visitor().get('/', { headers: { 'x-session': token, cookie } });
    for (const [sent, expected] of [
      [token, '4'],
      ['', 'null'],
      ['x', 'null'],
      ['A'.repeat(8193), 'null'],
    ]) {
      const reply = await site.visitor().get('/read', { headers: { 'x-session': sent, cookie } });
      expect([reply.body, reply.setCookie]).to.deep.equal([expected, []]);
    }
    const ended = await site.visitor().get('/end', { headers: { 'x-session': token, cookie } });
    expect([ended.headers['x-session'], ended.setCookie]).to.deep.equal(['', []]);
    expect((await browser.get('/read')).body).to.equal('1');
  });

  it('in the other order, a cookie wins where one is sent', async () => {
    const site = await build({ transport: ['cookie', HEADER] });
    const fresh = await site.visitor().get('/');
    expect([fresh.setCookie, typeof fresh.headers['x-session']]).to.deep.equal([[], 'string']);
    const reply = await site.visitor().get('/', {
      headers: { 'x-session': fresh.headers['x-session'], cookie: SOME_COOKIE },
    });
    expect([reply.body, reply.setCookie.length, reply.headers['x-session']]).to.deep.equal(['1', 1, undefined]);
    expect(reply.headers.vary).to.equal('Cookie, X-Session');
  });

  it('adds to Vary only what is missing there', async () => {
    for (const [before, after] of [
      ['Accept', 'Accept, X-Session, Cookie'],
      ['x-session', 'x-session, Cookie'],
      ['*', '*'],
      ['cookie,  X-SESSION', 'cookie,  X-SESSION'],
    ] as const) {
      const { headers } = await inRequest(
        (ctx) => {
          ctx.set('Vary', before);
          ctx.session.n;
        },
        { transport },
      );
      expect(headers.vary).to.equal(after);
    }
  });
});

describe('headerTransport(header)', () => {
  it('refuses a name that no header can have', () => {
    for (const name of ['', 'a b', 'a:b', 'ä', 'a\n', undefined, null, 5])
      expect(() => headerTransport(name as string), String(name)).to.throw(
        OptionError,
        /^Invalid option headerTransport\(header\): expected a header name such as x-session, got /,
      );
  });
});

describe('transport', () => {
  afterEach(tidy);

  it('may be one of your own', async () => {
    const bearer: Transport = {
      requestHeader: 'Authorization',
      responseHeader: 'X-Token',
      limit: 1000,
      overhead: 7,
      read: ({ headers: { authorization } }) =>
        authorization?.startsWith('Bearer ') ? [authorization.slice(7)] : undefined,
      write: (token, maxAge) => `${token}; for=${maxAge}`,
      clear: () => 'none',
    };
    const site = await build({ transport: [bearer, 'cookie'], store: new MemoryStore({ expire: 60 }) });
    const browser = await site.visitor().get('/');
    expect([browser.setCookie.length, browser.headers['x-token']]).to.deep.equal([1, undefined]);
    const first = await site.visitor().get('/', { headers: { authorization: 'Bearer none' } });
    const [token, age] = (first.headers['x-token'] as string).split('; ');
    expect([age, first.setCookie, first.headers.vary]).to.deep.equal(['for=60', [], 'Authorization, Cookie']);
    const headers = { authorization: `Bearer ${token}` };
    expect((await site.visitor().get('/', { headers })).body).to.equal('2');
    expect((await site.visitor().get('/end', { headers })).headers['x-token']).to.equal('none');
  });

  it('is checked when the middleware is created', () => {
    const store = new MemoryStore();
    for (const bad of [
      'header',
      '',
      null,
      1,
      {},
      [],
      ['cookie', 'x'],
      [null],
      { ...HEADER, read: undefined },
      { ...HEADER, write: 'x' },
      { ...HEADER, clear: null },
      { ...HEADER, requestHeader: undefined },
      { ...HEADER, responseHeader: 'a b' },
      { ...HEADER, limit: undefined },
      { ...HEADER, overhead: -1 },
      headerTransport,
    ]) {
      expect(() => session(store, { transport: bad as never }), String(bad))
        .to.throw(
          OptionError,
          /^Invalid option transport: expected 'cookie', a transport such as headerTransport\('x-session'\), or a list of them, got /,
        )
        .with.property('code', 'WSESSION_OPTION');
    }
    for (const good of ['cookie', ['cookie'], HEADER, [HEADER], [HEADER, 'cookie'], undefined] as const)
      session(store, good === undefined ? {} : { transport: good });
  });
});
