import { expect } from 'chai';
import Keygrip from 'keygrip';
import Koa from 'koa';
import { OptionError, type SessionOptions, session } from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import { checkStoreOptions, type StoreOptions } from 'koa-wsession/store';
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
          ctx.originalUrl = options.path ?? '/';
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
      [{ absoluteTimeout: 400 * 86_400 }, /; Max-Age=3600;/],
      [{ persistent: true }, /; Max-Age=3600;/],
      [{ persistent: false }, /^wsession=ID; Path=\//],
      [{ classInstances: 'refuse' }, /^wsession=ID;/],
      [{ classInstances: 'json' }, /^wsession=ID;/],
      [{ timeout: 2 ** 31 - 1 }, /^wsession=ID;/],
      [{ timeout: 50.5 }, /^wsession=ID;/],
      [{}, /; Max-Age=90; Path/, { expire: 90 }],
      [{}, /; Path=\/; Domain=example\.com; HttpOnly/, { domain: 'example.com' }],
      [{ name: '__Host-sid' }, /^__Host-sid=ID; Max-Age=3600; Path=\/; Secure; HttpOnly/, SECURE],
      [{ name: '__Host-Http-sid' }, /^__Host-Http-sid=ID; Max-Age=3600; Path=\/; Secure; HttpOnly/, SECURE],
      [
        { name: '__Http-sid', path: '/x' },
        /^__Http-sid=ID;.*; Path=\/x; Domain=a\.example; Secure; HttpOnly/,
        { ...SECURE, domain: 'a.example' },
      ],
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
      const names = ['name', 'path', 'sameSite', 'httpOnly', 'partitioned', 'priority', 'persistent', 'keys'];
      const options = Object.fromEntries(
        [...names, 'rolling', 'absoluteTimeout', 'timeout', 'transport', 'classInstances', 'migrate'].map((name) => [
          name,
          undefined,
        ]),
      );
      construct(options);
      expect(await lineOf(options as SessionOptions)).to.equal(await lineOf({}));
    });
  });

  describe('throws at startup for', () => {
    const invalid = (option: string, expected: string) =>
      new RegExp(`^Invalid option ${option}: expected ${expected}.*, got `);
    const each = (option: string, expected: string, ...values: unknown[]): Array<[unknown, RegExp]> =>
      values.map((value) => [{ [option]: value }, invalid(option, expected)]);
    const unknown = (option: string, advice: string): [unknown, RegExp] => [
      { [option]: true },
      new RegExp(`^Unknown option ${option} of session\\(\\): ${advice}`),
    ];
    const notNumbers = [0, -1, Number.NaN, Infinity, '60', null];
    const tooLong = 400 * 86_400 + 1; // 400 days, in seconds
    const seconds = 'seconds over 0, up to 400 days \\(34,560,000\\)';
    const milliseconds = `${seconds}; milliseconds\\?`;

    const refused: Array<[options: unknown, says: RegExp, storeOptions?: StoreOptions]> = [
      ...each(
        'name',
        'a cookie name',
        '',
        'a b',
        'a=b',
        'a;b',
        'a,b',
        '"a"',
        'ä',
        'a\0',
        'a\n',
        'n'.repeat(257),
        5,
        null,
      ),
      ...each(
        'path',
        'a path that begins with "/"',
        '',
        'app',
        '/a;b',
        '/a\n',
        '/\x7f',
        '/ä',
        `/${'p'.repeat(1024)}`,
        /x/,
      ),
      ...each('sameSite', '"strict", "lax" or "none"', 'Lax', 'LAX', true, null, 'x'),
      ...each('httpOnly', 'true or false', 1, 'true', null),
      ...each('partitioned', 'true or false', 1),
      ...each('persistent', 'true or false', 0, 'yes', null),
      ...each('priority', '"low", "medium" or "high"', 'Low', 5, null),
      ...each('rolling', `true, false or ${seconds}(?!; m)`, ...notNumbers, 5n),
      ...each('rolling', `true, false or ${milliseconds}`, tooLong),
      ...each('rolling', "fewer seconds than the store's expire \\(3600\\)", 3600, 7200),
      ...each('absoluteTimeout', `${seconds}(?!; m)`, ...notNumbers, true),
      ...each('absoluteTimeout', milliseconds, tooLong, 30 * 86_400_000),
      ...each('timeout', 'milliseconds over 0, below 2\\^31', ...notNumbers, true, 2 ** 31),
      ...each('classInstances', '"refuse" or "json"', true, 'JSON', null),
      ...each('migrate', 'a function', {}, null, 'koa.sess'),
      ...each(
        'keys',
        'a Keygrip, or a list of secrets that are not empty',
        ...[[], '', 'mysecret', 5, {}, null, [''], ['mysecret', ''], [5], [null]],
      ),
      [
        { migrate: Object.assign(() => undefined, { clear: [] }) },
        invalid('migrate.clear', 'a cookie name, or a list of them'),
      ],
      [
        { name: 'koa.sess', migrate: Object.assign(() => undefined, { clear: ['koa.sess'] }) },
        invalid('migrate.clear', "other names than the session's own"),
      ],
      [null, invalid('options of session\\(\\)', 'an object')],
      [5, invalid('options of session\\(\\)', 'an object')],
      [{ sameSite: 'none' }, invalid("sameSite: 'none'", 'a store with secure: true; browsers drop the cookie')],
      [{ partitioned: true }, invalid('partitioned: true', 'a store with secure: true; browsers drop the cookie')],
      ...['__Host-a', '__host-a', '__Secure-a', '__SECURE-a', '__Http-a', '__HOST-http-a'].map(
        (name): [unknown, RegExp] => [
          { name },
          invalid(`name ${name}`, 'a store with secure: true; browsers drop the cookie otherwise'),
        ],
      ),
      [{ name: '__Host-a', path: '/a' }, invalid('path of __Host-a', '"/", because of the prefix __Host-'), SECURE],
      [
        { name: '__HOST-a' },
        invalid('domain of __HOST-a', 'none, because of the prefix __Host-'),
        { secure: true, domain: 'a.example' },
      ],
      ...['__Http-a', '__http-a', '__Host-Http-a'].map((name): [unknown, RegExp, object] => [
        { name, httpOnly: false },
        invalid(`httpOnly of ${name}`, 'true, because of the prefix __Http-'),
        SECURE,
      ]),
      [{ name: '__Host-Http-a', path: '/a' }, invalid('path of __Host-Http-a', '"/", because'), SECURE],
      [
        { name: '__Host-Http-a' },
        invalid('domain of __Host-Http-a', 'none, because'),
        { secure: true, domain: 'a.example' },
      ],
      unknown('nmae', 'did you mean name\\?$'),
      unknown('samesite', 'did you mean sameSite\\?$'),
      unknown('absolutetimeout', 'did you mean absoluteTimeout\\?$'),
      unknown(
        'whatever',
        'it takes name, path, sameSite, httpOnly, partitioned, priority, persistent, keys, .*migrate, deviceBound\\.$',
      ),
      unknown('expire', 'it belongs to the store, in seconds: '),
      unknown('secure', 'it belongs to the store: '),
      unknown('domain', 'it belongs to the store: '),
      unknown('maxAge', "use the store's expire, in seconds, or ctx\\.session\\.maxAge"),
      unknown('key', 'it is called name here\\.'),
      unknown('secret', 'it is called keys here'),
      unknown('signed', 'set app\\.keys, or keys'),
      unknown('renew', 'it is called rolling here\\.'),
      unknown('cookie', 'its properties are options here'),
      unknown('store', 'the store comes first'),
      unknown('adopt', 'it is called migrate\\.'),
    ];
    for (const [options, says, storeOptions] of refused) {
      const title = String(JSON.stringify(options, (_, it) => (typeof it === 'bigint' ? `${it}n` : it)));
      it(title.length > 60 ? `${title.slice(0, 60)}…` : title, async () => {
        const error = await errorOf(() => construct(options as object, storeOptions));
        expect(error).to.be.instanceOf(OptionError).and.instanceOf(TypeError);
        expect([error.name, error.code]).to.deep.equal(['OptionError', 'WSESSION_OPTION']);
        expect(error.message).to.match(says);
        if (Object.hasOwn(Object(options), 'keys')) expect(error.message).to.not.include('mysecret');
      });
    }

    it('the middleware without a call, as app.use(session), which it spells out', async () => {
      const { errors, served } = await (async () => {
        const app = new Koa().use(session as never);
        const errors: Error[] = [];
        app.on('error', (error) => errors.push(error));
        return { errors, served: await serveApp(app) };
      })();
      expect((await new Client(served).get('/')).status).to.equal(500);
      expect(errors[0]?.message).to.include('; call it: app.use(session(store)), got an object');
    });

    it('the form of koa-session, for which it says what to write', async () => {
      const app = new Koa();
      for (const call of [() => session({ key: 'sid' } as never, app as never), () => session(app as never)])
        expect((await errorOf(call)).message).to.include(
          '; write app.use(session(new MemoryStore(), options)), got an object',
        );
    });

    it('a value that is no store', async () => {
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
        { ...stubStore(), capabilities: null },
        { ...stubStore(), expire: 0 },
        { ...stubStore(), expire: '60' },
      ]) {
        const { message } = await errorOf(() => session(store as never));
        expect(message).to.match(/^Invalid option store: expected a store such as new MemoryStore\(\), got /);
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

    it('sign the id within the one cookie: HMAC-SHA256 over name and id', async () => {
      const { visitor } = await createSite(write, { keys: ['new', 'old'] });
      const ada = visitor();
      await ada.get('/');
      expect([...ada.jar.keys()]).to.deep.equal(['wsession']);
      const cookie = String(ada.jar.get('wsession'));
      expect(cookie).to.match(/^[\w-]{32}\.[\w-]{43}$/);
      expect([verify(cookie, ['new']), verify(cookie, ['old'])]).to.deep.equal([true, false]);
      expect((await ada.get('/')).body).to.equal('2');
    });

    it('can be a Keygrip, which is used as it is', async () => {
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

    it('are those of the app, even if set after the middleware is created, and rotate with them', async () => {
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
      expect((await unsigned.get('/')).body, 'unsigned ids are not valid any more').to.equal('1');
      app.keys = new Keygrip(['second', 'first'], 'sha256') as never;
      expect((await ada.get('/')).body).to.equal('2');
      expect(verify(String(ada.jar.get('wsession')), ['second'])).to.equal(true);
      app.keys = ['second'];
      expect((await ada.get('/')).body).to.equal('3');
      app.keys = ['third'];
      expect((await ada.get('/')).body).to.equal('1');
    });

    it('take precedence over those of the app', async () => {
      const { visitor } = await createSite(write, { keys: ['mine'], keyring: ['apps'] });
      const ada = visitor();
      await ada.get('/');
      expect(verify(String(ada.jar.get('wsession')), ['mine'])).to.equal(true);
    });

    it('of the app that are an empty list are an OptionError for each request', async () => {
      const { app, errors, visitor } = await createSite(write);
      app.keys = [];
      for (const path of ['/', '/read', '/untouched']) {
        expect((await visitor().get(path)).status).to.equal(500);
        expect(errors.at(-1)).to.be.instanceOf(OptionError);
        expect(errors.at(-1)?.message).to.match(/^Invalid option app\.keys: expected a Keygrip/);
      }
    });

    it('sign for one name: a cookie is not valid under another', async () => {
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
  it('have defaults', () => {
    expect(checkStoreOptions('AnyStore', {})).to.deep.equal({
      expire: 3600,
      secure: false,
      domain: undefined,
    });
  });

  it('are returned', () => {
    for (const domain of ['example.com', '.example.com', 'localhost', 'a-b.c', '127.0.0.1', 'a'.repeat(253)]) {
      expect(checkStoreOptions('AnyStore', { expire: 0.5, secure: true, domain })).to.deep.equal({
        expire: 0.5,
        secure: true,
        domain,
      });
    }
    checkStoreOptions('AnyStore', { own: 1 } as never, ['own']);
  });

  it('are refused with the name of the option, what is expected and what was given', async () => {
    const refused: Array<[options: unknown, says: RegExp]> = [
      ...[0, -1, Number.NaN, Infinity, '1h', null, true].map((expire): [unknown, RegExp] => [
        { expire },
        /^Invalid option expire: expected seconds over 0, up to 400 days \(34,560,000\), got /,
      ]),
      ...[400 * 86_400 + 1, 3_600_000_000].map((expire): [unknown, RegExp] => [
        { expire },
        /^Invalid option expire: expected seconds over 0, up to 400 days \(34,560,000\); milliseconds\?, got /,
      ]),
      ...['yes', 1, null].map((secure): [unknown, RegExp] => [
        { secure },
        /^Invalid option secure: expected true or false, got /,
      ]),
      ...['', 'a;b', 'a b', '-a', 'a-', 'a..b', 'a.', '..a', 'ä.de', 'a\n', 5, null, 'a'.repeat(254)].map(
        (domain): [unknown, RegExp] => [{ domain }, /^Invalid option domain: expected a domain such as example\.com/],
      ),
      [{ expires: 5 }, /^Unknown option expires of AnyStore: did you mean expire\?$/],
      [{ prefix: 5 }, /^Unknown option prefix of AnyStore: it takes expire, secure, domain, own\.$/],
      [null, /^Invalid option options of AnyStore: expected an object, got null$/],
      ['mysecret', /^Invalid option options of AnyStore: expected an object, got "mysecret"$/],
    ];
    for (const [options, says] of refused) {
      const error = await errorOf(() => checkStoreOptions('AnyStore', options as object, ['own']));
      expect(error).to.be.instanceOf(OptionError);
      expect(error.message).to.match(says);
    }
  });

  it('of the wrong kind are described without the contents of objects and of long strings', async () => {
    for (const [value, shown] of [
      ['auto', '"auto"'],
      ['x'.repeat(61), 'a string of 61 characters'],
      ['', '""'],
      [['mysecret'], 'a list of 1'],
      [{ mysecret: 1 }, 'an object (Object)'],
      [Object.create(null), 'an object (no class)'],
      [new Map(), 'an object (Map)'],
      [() => 'mysecret', 'a function'],
      [null, 'null'],
      [-1, '-1'],
      [Symbol('s'), 'Symbol(s)'],
      [5n, '5n'],
    ] as const) {
      const { message } = await errorOf(() => checkStoreOptions('AnyStore', { expire: value as never }));
      expect(message.endsWith(`, got ${shown}`), message).to.equal(true);
    }
  });
});
