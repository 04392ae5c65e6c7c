import { expect } from 'chai';
import Keygrip from 'keygrip';
import Koa from 'koa';
import {
  checkStoreOptions,
  OptionError,
  type SessionOptions,
  type StoreOptions,
  session,
} from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import { Client } from 'testkit/http';
import { asStore, createSite, errorOf, inRequest, serveApp, stubStore, tidy } from './helpers.js';

const SECURE = { secure: true };

function construct(options: object | null | undefined, storeOptions: StoreOptions = {}): Koa.Middleware {
  return session(new MemoryStore(storeOptions), options as SessionOptions);
}

/** The Set-Cookie line of a first write over what counts as https. */
async function lineOf(options: SessionOptions, storeOptions: StoreOptions = {}): Promise<string> {
  const { setCookie } = await inRequest(
    (ctx) => {
      ctx.session.a = 1;
    },
    {
      store: new MemoryStore(storeOptions),
      before: [
        (ctx, next) => {
          ctx.request.header['x-forwarded-proto'] = 'https';
          ctx.app.proxy = true;
          return next();
        },
      ],
      ...options,
    },
  );
  expect(setCookie).to.have.length(1);
  return String(setCookie[0]).replace(/=[\w-]{32}(\.[\w-]{43})?;/, '=ID;');
}

describe('session(store, options)', () => {
  afterEach(tidy);

  describe('takes', () => {
    const accepted: Array<[options: SessionOptions, line: RegExp, storeOptions?: StoreOptions]> = [
      [{}, /^wsession=ID; Max-Age=3600; Path=\/; HttpOnly; SameSite=Lax$/],
      [{ name: 'sid' }, /^sid=ID;/],
      [{ name: "!#$%&'*+-.^_`|~09azAZ" }, /^!#\$%&'\*\+-\.\^_`\|~09azAZ=ID;/],
      [{ name: 'n'.repeat(256) }, /^n{256}=ID;/],
      [{ path: '/app' }, /; Path=\/app;/],
      [{ path: `/${'p'.repeat(1023)}` }, /; Path=\/p{1023};/],
      [{ path: '/a b,c="d"' }, /; Path=\/a b,c="d";/],
      [{ sameSite: 'strict' }, /; SameSite=Strict$/],
      [{ sameSite: 'lax' }, /; SameSite=Lax$/],
      [{ sameSite: 'none' }, /; Secure; HttpOnly; SameSite=None$/, SECURE],
      [{ httpOnly: false }, /; Path=\/; SameSite=Lax$/],
      [{ partitioned: true }, /; Secure; HttpOnly; SameSite=Lax; Partitioned$/, SECURE],
      [{ partitioned: false }, /; SameSite=Lax$/],
      [{ priority: 'low' }, /; Priority=Low$/],
      [{ priority: 'medium' }, /; Priority=Medium$/],
      [{ priority: 'high' }, /; Priority=High$/],
      [{ rolling: true }, /^wsession=ID;/],
      [{ rolling: false }, /^wsession=ID;/],
      [{ rolling: 0.5 }, /^wsession=ID;/],
      [{ absoluteTimeout: 60 }, /; Max-Age=60;/],
      [{ timeout: 2 ** 31 - 1 }, /^wsession=ID;/],
      [{ timeout: 50.5 }, /^wsession=ID;/],
      [{}, /; Max-Age=90; Path/, { expire: 90 }],
      [{}, /; Path=\/; Domain=example\.com; HttpOnly/, { domain: 'example.com' }],
      [{ name: '__Host-sid' }, /^__Host-sid=ID; Max-Age=3600; Path=\/; Secure; HttpOnly/, SECURE],
      [
        { name: '__Secure-sid', path: '/x' },
        /^__Secure-sid=ID;.*; Path=\/x; Domain=a\.example; Secure/,
        { ...SECURE, domain: 'a.example' },
      ],
    ];
    for (const [options, line, storeOptions] of accepted) {
      const title = JSON.stringify({ ...options, ...storeOptions });
      it(title.length > 80 ? `${title.slice(0, 80)}…` : title, async () => {
        expect(await lineOf(options, storeOptions)).to.match(line);
      });
    }

    it('no options, and undefined for each', async () => {
      construct(undefined);
      const names = ['name', 'path', 'sameSite', 'httpOnly', 'partitioned', 'priority', 'keys', 'rolling'];
      const options = Object.fromEntries(
        [...names, 'absoluteTimeout', 'timeout'].map((it) => [it, undefined]),
      );
      construct(options);
      expect(await lineOf(options as SessionOptions)).to.equal(await lineOf({}));
    });
  });

  describe('refuses, when it is constructed,', () => {
    const refused: Array<[options: unknown, says: RegExp, storeOptions?: StoreOptions]> = [
      ...['', 'a b', 'a=b', 'a;b', 'a,b', '"a"', 'ä', 'a\0', 'a\n', 'n'.repeat(257)].map(
        (name): [unknown, RegExp] => [
          { name },
          /^name is (a string of \d+ characters|an empty string), but it takes a cookie name/,
        ],
      ),
      [{ name: 5 }, /^name is 5, but it takes a cookie name/],
      [{ name: null }, /^name is null, but/],
      ...['', 'app', '/a;b', '/a\n', '/\x7f', '/ä', `/${'p'.repeat(1024)}`].map((path): [unknown, RegExp] => [
        { path },
        /^path is (a string of \d+ characters|an empty string), but it takes a path that begins with "\/"/,
      ]),
      [{ path: /x/ }, /^path is an object \(RegExp\), but/],
      ...['Lax', 'LAX', true, null, 'x'].map((sameSite): [unknown, RegExp] => [
        { sameSite },
        /^sameSite is .+, but it takes "strict", "lax" or "none"\.$/,
      ]),
      ...[1, 'true', null].map((httpOnly): [unknown, RegExp] => [
        { httpOnly },
        /^httpOnly is .+, but it takes true or false\.$/,
      ]),
      [{ partitioned: 1 }, /^partitioned is 1, but it takes true or false\.$/],
      ...['Low', 5, null].map((priority): [unknown, RegExp] => [
        { priority },
        /^priority is .+, but it takes "low", "medium" or "high"\.$/,
      ]),
      ...[0, -1, Number.NaN, Infinity, '60', null, 5n].map((rolling): [unknown, RegExp] => [
        { rolling },
        /^rolling is .+, but it takes true, false or a number of seconds over 0\.$/,
      ]),
      ...[0, -1, Number.NaN, Infinity, '60', true, null].map((absoluteTimeout): [unknown, RegExp] => [
        { absoluteTimeout },
        /^absoluteTimeout is .+, but it takes a number of seconds over 0, up to ten years\.$/,
      ]),
      ...[0, -1, Number.NaN, Infinity, '60', true, null, 2 ** 31].map((timeout): [unknown, RegExp] => [
        { timeout },
        /^timeout is .+, but it takes a number of milliseconds over 0, below 2\^31\.$/,
      ]),
      ...[[], '', 'mysecret', 5, {}, null, [''], ['mysecret', ''], [5], [null]].map(
        (keys): [unknown, RegExp] => [
          { keys },
          /^keys is .+, but it takes a Keygrip, or a list of secrets that are not empty\.$/,
        ],
      ),
      [
        { nmae: 'sid' },
        /^session\(\) has no option "nmae", but it takes name, path, sameSite, httpOnly, partitioned, priority, keys, rolling, absoluteTimeout, timeout, transport, adopt\.$/,
      ],
      [
        { name: 'koa.sess', adopt: Object.assign(() => undefined, { clear: ['koa.sess'] }) },
        /^adopt\.clear is a list of 1, but it takes other names than the session's own, koa\.sess\.$/,
      ],
      [{ maxAge: 1 }, /^session\(\) has no option "maxAge", /],
      [{ secure: true }, /^session\(\) has no option "secure", /],
      [null, /^The options of session\(\) is null, but it takes an object/],
      [5, /^The options of session\(\) is 5, but/],
      [{ sameSite: 'none' }, /^sameSite "none" is false, but it takes a store with `secure: true`/],
      [{ partitioned: true }, /^partitioned is false, but it takes a store with `secure: true`/],
      ...['__Host-a', '__host-a', '__Secure-a', '__SECURE-a'].map((name): [unknown, RegExp] => [
        { name },
        new RegExp(`^The name ${name} is false, but it takes a store with \`secure: true\``),
      ]),
      [
        { name: '__Host-a', path: '/a' },
        /^The path of __Host-a is .+, but it takes "\/" and no other/,
        SECURE,
      ],
      [
        { name: '__HOST-a' },
        /^The domain of __HOST-a is .+, but it takes none, because of the prefix __Host-/,
        { secure: true, domain: 'a.example' },
      ],
    ];
    for (const [options, says, storeOptions] of refused) {
      const title = String(JSON.stringify(options, (_, it) => (typeof it === 'bigint' ? `${it}n` : it)));
      it(title.length > 60 ? `${title.slice(0, 60)}…` : title, async () => {
        const error = await errorOf(() => construct(options as object, storeOptions));
        expect(error).to.be.instanceOf(OptionError).and.instanceOf(TypeError);
        expect([error.name, error.code]).to.deep.equal(['OptionError', 'WSESSION_OPTION']);
        expect(error.message).to.match(says);
        expect(error.message).to.not.include('mysecret');
      });
    }

    it('what is no store', async () => {
      const { load, ...withoutLoad } = stubStore();
      for (const store of [
        undefined,
        null,
        {},
        'redis',
        MemoryStore,
        withoutLoad,
        { ...stubStore(), create: undefined },
        { ...stubStore(), update: 'x' },
        { ...stubStore(), destroy: null },
        { ...stubStore(), capabilities: undefined },
        { ...stubStore(), expire: 0 },
        { ...stubStore(), expire: '60' },
      ]) {
        const { message } = await errorOf(() => session(store as never));
        expect(message).to.match(/^The store is .+, but it takes a store such as new MemoryStore\(\)\.$/);
      }
      session(asStore(stubStore()));
      expect(load.callCount).to.equal(0);
    });
  });

  describe('keys', () => {
    const write = {
      '/': (ctx: Koa.Context) => {
        ctx.session.n = (ctx.session.n ?? 0) + 1;
        return ctx.session.n;
      },
      '/read': (ctx: Koa.Context) => ctx.session.n ?? null,
      '/untouched': () => 'fine',
    };
    const verify = (cookie: string, keys: string[]) => {
      const [id, signature] = String(cookie).split('.');
      return new Keygrip(keys, 'sha256').verify(`wsession=${id}`, String(signature));
    };

    it('sign the id in the one cookie: HMAC-SHA256 over name and id', async () => {
      const { visitor } = await createSite(write, { keys: ['new', 'old'] });
      const ada = visitor();
      await ada.get('/');
      expect([...ada.jar.keys()]).to.deep.equal(['wsession']);
      const cookie = String(ada.jar.get('wsession'));
      expect(cookie).to.match(/^[\w-]{32}\.[\w-]{43}$/);
      expect([verify(cookie, ['new']), verify(cookie, ['old'])]).to.deep.equal([true, false]);
      expect((await ada.get('/')).body).to.equal('2');
    });

    it('can be a Keygrip, which is asked as it is', async () => {
      const { visitor } = await createSite(write, { keys: new Keygrip(['k'], 'sha512') });
      const ada = visitor();
      await ada.get('/');
      const [id, signature] = String(ada.jar.get('wsession')).split('.');
      expect(signature).to.equal(new Keygrip(['k'], 'sha512').sign(`wsession=${id}`));
      expect((await ada.get('/')).body).to.equal('2');
    });

    it('can be bytes', async () => {
      const { visitor } = await createSite(write, { keys: [Buffer.from('k')] as never });
      const ada = visitor();
      await ada.get('/');
      expect(verify(String(ada.jar.get('wsession')), ['k'])).to.equal(true);
    });

    it('are those of the app, also when set after the middleware is made, and rotate with them', async () => {
      const app = new Koa();
      app.use(session(new MemoryStore()));
      app.use((ctx) => {
        ctx.session.n = (ctx.session.n ?? 0) + 1;
        ctx.body = String(ctx.session.n);
      });
      const served = await serveApp(app);
      const unsigned = new Client(served);
      await unsigned.get('/');
      expect(unsigned.jar.get('wsession')).to.match(/^[\w-]{32}$/);
      app.keys = ['first'];
      const ada = new Client(served);
      await ada.get('/');
      expect(verify(String(ada.jar.get('wsession')), ['first'])).to.equal(true);
      expect((await unsigned.get('/')).body, 'what is not signed counts no more').to.equal('1');
      app.keys = new Keygrip(['second', 'first'], 'sha256') as never;
      expect((await ada.get('/')).body).to.equal('2');
      expect(verify(String(ada.jar.get('wsession')), ['second'])).to.equal(true);
      app.keys = ['second'];
      expect((await ada.get('/')).body).to.equal('3');
      app.keys = ['third'];
      expect((await ada.get('/')).body).to.equal('1');
    });

    it('go before those of the app', async () => {
      const { visitor } = await createSite(write, { keys: ['mine'], keyring: ['apps'] });
      const ada = visitor();
      await ada.get('/');
      expect(verify(String(ada.jar.get('wsession')), ['mine'])).to.equal(true);
    });

    it('of the app that are an empty list are an error for those who touch the session', async () => {
      const { app, errors, visitor } = await createSite(write);
      app.keys = [];
      const client = visitor();
      const headers = { cookie: `wsession=${'A'.repeat(32)}` };
      expect((await client.get('/untouched', { headers })).status).to.equal(200);
      for (const init of [{}, { headers }]) {
        expect((await client.get('/read', init)).status).to.equal(500);
        expect(errors.at(-1)).to.be.instanceOf(OptionError);
        expect(errors.at(-1)?.message).to.match(/^app\.keys is a list of 0, but it takes a Keygrip/);
      }
    });

    it('of another name do not make a signature right: it covers the name', async () => {
      const store = new MemoryStore();
      const one = await createSite(write, { store, keys: ['k'], name: 'one' });
      const two = await createSite(write, { store, keys: ['k'], name: 'two' });
      const ada = one.visitor();
      await ada.get('/');
      const bob = two.visitor();
      bob.jar.set('two', String(ada.jar.get('one')));
      expect((await bob.get('/read')).body).to.equal('null');
    });
  });
});

describe('the options of a store', () => {
  it('have the defaults that they always had', () => {
    expect(checkStoreOptions('AnyStore', {})).to.deep.equal({
      expire: 3600,
      secure: false,
      domain: undefined,
    });
  });

  it('are taken', () => {
    for (const domain of [
      'example.com',
      '.example.com',
      'localhost',
      'a-b.c',
      '127.0.0.1',
      'a'.repeat(253),
    ]) {
      expect(checkStoreOptions('AnyStore', { expire: 0.5, secure: true, domain })).to.deep.equal({
        expire: 0.5,
        secure: true,
        domain,
      });
    }
    checkStoreOptions('AnyStore', { own: 1 } as never, ['own']);
  });

  it('are refused with the name of the option, what it got and what it takes', async () => {
    const refused: Array<[options: unknown, says: RegExp]> = [
      ...[0, -1, Number.NaN, Infinity, '1h', null, true].map((expire): [unknown, RegExp] => [
        { expire },
        /^expire is .+, but it takes a number of seconds over 0, up to ten years\.$/,
      ]),
      ...['yes', 1, null].map((secure): [unknown, RegExp] => [
        { secure },
        /^secure is .+, but it takes true or false\.$/,
      ]),
      ...['', 'a;b', 'a b', '-a', 'a-', 'a..b', 'a.', '..a', 'ä.de', 'a\n', 5, null, 'a'.repeat(254)].map(
        (domain): [unknown, RegExp] => [
          { domain },
          /^domain is .+, but it takes a domain such as example\.com/,
        ],
      ),
      [{ expires: 5 }, /^AnyStore has no option "expires", but it takes expire, secure, domain, own\.$/],
      [null, /^The options of AnyStore is null, but it takes an object\.$/],
      ['mysecret', /^The options of AnyStore is a string of 8 characters, but/],
    ];
    for (const [options, says] of refused) {
      const error = await errorOf(() => checkStoreOptions('AnyStore', options as object, ['own']));
      expect(error).to.be.instanceOf(OptionError);
      expect(error.message).to.match(says);
    }
  });

  it('name what they got without showing it', async () => {
    for (const [value, shown] of [
      ['mysecret', 'a string of 8 characters'],
      ['', 'an empty string'],
      [['mysecret'], 'a list of 1'],
      [{ mysecret: 1 }, 'an object (Object)'],
      [Object.create(null), 'an object (no class)'],
      [new Map(), 'an object (Map)'],
      [() => 'mysecret', 'a function'],
      [null, 'null'],
      [-1, '-1'],
      [Symbol('s'), 'Symbol(s)'],
      [5n, '5'],
    ] as const) {
      const { message } = await errorOf(() => checkStoreOptions('AnyStore', { expire: value as never }));
      expect(message).to.equal(
        `expire is ${shown}, but it takes a number of seconds over 0, up to ten years.`,
      );
    }
  });
});
