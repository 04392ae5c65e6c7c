import { createHash } from 'node:crypto';
import { CookieStore } from '@koa-wsession/store-cookie';
import { expect } from 'chai';
import type Koa from 'koa';
import { headerTransport, type SessionOptions, type Store } from 'koa-wsession';
import sinon from 'sinon';
import {
  count,
  type Handler,
  HOUR,
  makeStore,
  makeWorld,
  OTHER_SECRET,
  read,
  SECRET,
  type World,
} from './support.js';

describe('CookieStore over HTTP', () => {
  const worlds: World[] = [];
  async function open(
    store: Store,
    handlers: Record<string, Handler>,
    options?: SessionOptions,
  ): Promise<World> {
    const world = await makeWorld(store, handlers, options);
    worlds.push(world);
    return world;
  }
  afterEach(async () => {
    sinon.restore();
    for (const world of worlds.splice(0)) await world.close();
  });

  it('counts: 1, 2, 3, and nothing is on the server', async () => {
    const { visitor } = await open(makeStore(), { '/': count });
    const ada = visitor();
    const bodies = [];
    for (let i = 0; i < 3; i++) bodies.push((await ada.get('/')).body);
    expect(bodies).to.deep.equal(['1', '2', '3']);
    const restarted = await open(makeStore(), { '/': count });
    expect((await restarted.visitor(ada.jar.get('wsession')).get('/')).body).to.equal('4');
  });

  it('says in the cookie how long it lives, and nothing of what it holds', async () => {
    const store = new CookieStore(SECRET, { expire: 77, domain: 'example.com' });
    const { visitor } = await open(store, {
      '/': (ctx) => {
        ctx.session.small = 'confidential';
      },
    });
    const [line] = (await visitor().get('/')).setCookie;
    expect(line).to.match(
      /^wsession=[\w-]+; Max-Age=77; Path=\/; Domain=example\.com; HttpOnly; SameSite=Lax$/,
    );
    const value = line!.slice('wsession='.length, line!.indexOf(';'));
    expect(Buffer.from(value, 'base64url').toString('latin1')).not.to.match(/confidential|small/);
  });

  it('decrypts nothing until the session is touched', async () => {
    const store = makeStore();
    const { visitor } = await open(store, { '/': count, '/untouched': () => 'ok', '/read': read });
    const ada = visitor();
    await ada.get('/');
    const methods = (['load', 'create', 'update', 'destroy'] as const).map((name) => sinon.spy(store, name));
    const { status, setCookie, headers } = await ada.get('/untouched');
    expect([status, setCookie, headers.vary]).to.deep.equal([200, [], undefined]);
    expect(methods.map((method) => method.callCount)).to.deep.equal([0, 0, 0, 0]);
    await ada.get('/read');
    expect(methods.map((method) => method.callCount)).to.deep.equal([1, 0, 0, 0]);
  });

  it('answers a session that is too large with an error that names bytes and keys; the old one stays', async () => {
    const { visitor, errors } = await open(makeStore(), {
      '/': count,
      '/read': read,
      '/large': (ctx) => {
        ctx.session.counter = 99;
        ctx.session.large = noise(Number(ctx.query.size));
        ctx.session.small = 'x';
      },
    });
    const ada = visitor();
    await ada.get('/');
    const cookie = ada.cookie;
    const { status, setCookie } = await ada.get('/large?size=4000');
    expect([status, setCookie]).to.deep.equal([500, []]);
    expect(errors).to.have.length(1);
    expect(errors[0]!.code).to.equal('WSESSION_COOKIE_SIZE');
    expect(errors[0]!.bytes).to.be.above(4096);
    expect(errors[0]!.message).to.include(`${errors[0]!.bytes} bytes`).and.include('"large" (4007 bytes)');
    expect(errors[0]!.largest![0]).to.equal('large');
    expect(ada.cookie).to.equal(cookie);
    expect((await ada.get('/read')).body).to.equal('{"counter":1}');

    // Another visitor, without a session so far, gets none.
    const bob = visitor();
    expect((await bob.get('/large?size=4000')).setCookie).to.deep.equal([]);
    expect((await bob.get('/read')).body).to.equal('{}');
  });

  it('brings back all that a header may carry', async () => {
    const { visitor } = await open(
      makeStore(),
      {
        '/large': (ctx) => {
          ctx.session.large = noise(Number(ctx.query.size));
        },
        '/read': (ctx) => ctx.session.large?.length,
      },
      { transport: headerTransport('x-session') },
    );
    const { headers } = await visitor().get('/large?size=5900');
    const token = headers['x-session'] as string;
    expect(token.length).to.be.within(8000, 8192);
    expect((await visitor().get('/read', { headers: { 'x-session': token } })).body).to.equal('5900');
    expect((await visitor().get('/large?size=6100')).status).to.equal(500);
  });

  it('holds about 2.9 kB, as the README says', async () => {
    const { visitor } = await open(makeStore(), {
      '/large': (ctx) => {
        ctx.session.large = noise(Number(ctx.query.size));
      },
      '/read': (ctx) => ctx.session.large?.length,
    });
    const ada = visitor();
    expect((await ada.get('/large?size=2900')).status).to.equal(200);
    expect(ada.jar.get('wsession')!.length).to.be.within(3900, 4096 - 'wsession'.length);
    expect((await ada.get('/read')).body).to.equal('2900');
    expect((await ada.get('/large?size=3000')).status).to.equal(500);
  });

  /** A request that waits, in the middle of its work, until `go` is called. */
  function slow(work: Handler): { handler: Handler; arrived: Promise<void>; go(): void } {
    let arrive!: () => void;
    let go!: () => void;
    const arrived = new Promise<void>((resolve) => (arrive = resolve));
    const going = new Promise<void>((resolve) => (go = resolve));
    const handler = async (ctx: Koa.Context) => {
      const before = ctx.session.counter;
      arrive();
      await going;
      await work(ctx);
      return before;
    };
    return { handler, arrived, go };
  }

  for (const end of ['destroy', 'regenerate'] as const) {
    it(`answers 409 to a request that is at work during ${end}(), and leaves the cookie alone`, async () => {
      const { handler, arrived, go } = slow(count);
      const { visitor, errors } = await open(makeStore(), {
        '/': count,
        '/slow': handler,
        '/end': (ctx) => ctx.session[end](),
        '/read': read,
      });
      const ada = visitor();
      await ada.get('/');
      const pending = ada.get('/slow');
      await arrived;
      expect((await ada.get('/end')).status).to.equal(200);
      const cookie = ada.cookie;
      go();
      const { status, setCookie } = await pending;
      expect([status, setCookie]).to.deep.equal([409, []]);
      expect(errors.map(({ code }) => code)).to.deep.equal(['WSESSION_GONE']);
      expect(ada.cookie).to.equal(cookie);
      expect((await ada.get('/read')).body).to.equal(end === 'destroy' ? '{}' : '{"counter":1}');
    });
  }

  it('refuses the cookie of a request that was answered just before the logout, and arrives after it', async () => {
    const { visitor } = await open(makeStore(), {
      '/': count,
      '/remember': (ctx) => ctx.session.expireIn(1e6),
      '/logout': (ctx) => ctx.session.destroy(),
      '/read': read,
    });
    const ada = visitor();
    await ada.get('/');
    const late = visitor(ada.jar.get('wsession'));
    await late.get('/remember');
    await ada.get('/logout');
    expect((await late.get('/read')).body).to.equal('{}');
    const clock = sinon.useFakeTimers({ now: Date.now() + 2 * HOUR, toFake: ['Date'] });
    for (let i = 0; i < 3; i++) {
      const other = visitor();
      await other.get('/');
      await other.get('/logout');
    }
    expect((await late.get('/read')).body).to.equal('{}');
    clock.restore();
  });

  it('refuses the cookie of a session that ended, sent once more', async () => {
    const { visitor } = await open(makeStore(), {
      '/': count,
      '/logout': (ctx) => {
        ctx.session = null;
      },
    });
    const ada = visitor();
    await ada.get('/');
    const copy = ada.jar.get('wsession')!;
    const { setCookie } = await ada.get('/logout');
    expect(setCookie[0]).to.match(/^wsession=; Max-Age=0;/);
    expect(ada.cookie).to.equal('');
    const mallory = visitor(copy);
    expect((await mallory.get('/')).body).to.equal('1');
    expect(mallory.jar.get('wsession')).not.to.equal(copy);
  });

  it('opens a cookie only under its name, and only with its secret', async () => {
    const store = makeStore();
    const home = await open(store, { '/': count });
    const ada = home.visitor();
    await ada.get('/');
    const token = ada.jar.get('wsession');
    for (const [other, options] of [
      [store, { name: 'other' }],
      [makeStore(), { name: 'other' }],
      [makeStore(OTHER_SECRET), {}],
    ] as const) {
      const { visitor } = await open(other, { '/': count }, options);
      expect((await visitor(token).get('/')).body).to.equal('1');
    }
  });

  it('rotates secrets: the old one still opens, and the answer is sealed with the new one', async () => {
    const [before, during, after] = [
      await open(makeStore(OTHER_SECRET), { '/': count }),
      await open(makeStore([SECRET, OTHER_SECRET]), { '/': count }),
      await open(makeStore(SECRET), { '/': count }),
    ];
    let token: string | undefined;
    const bodies = [];
    for (const { visitor } of [before, during, after]) {
      const ada = visitor(token);
      bodies.push((await ada.get('/')).body);
      token = ada.jar.get('wsession');
    }
    expect(bodies).to.deep.equal(['1', '2', '3']);
  });

  it('with `secure` is neither read nor set over plain http', async () => {
    const store = new CookieStore(SECRET, { secure: true });
    const { visitor, app, errors } = await open(store, { '/': count, '/read': read });
    app.proxy = true;
    const https = { headers: { 'x-forwarded-proto': 'https' } };
    const ada = visitor();
    expect((await ada.get('/', https)).setCookie[0]).to.include('; Secure;');
    expect((await ada.get('/read')).body).to.equal('{}');
    const { status, setCookie } = await ada.get('/');
    expect([status, setCookie]).to.deep.equal([500, []]);
    expect(errors[0]!.code).to.equal('WSESSION_INSECURE');
    const headers = { ...https.headers, cookie: ada.cookie };
    expect((await ada.get('/read', { headers })).body).to.equal('{"counter":1}');
  });

  it('can not merge: of two parallel requests the last cookie wins, as the README says', async () => {
    const [one, two] = [
      slow((ctx) => {
        ctx.session.small = 'one';
      }),
      slow((ctx) => {
        ctx.session.large = 'two';
      }),
    ];
    const { visitor } = await open(makeStore(), {
      '/': count,
      '/one': one.handler,
      '/two': two.handler,
      '/read': read,
    });
    const ada = visitor();
    await ada.get('/');
    const pending = [ada.get('/one'), ada.get('/two')];
    await Promise.all([one.arrived, two.arrived]);
    one.go();
    await pending[0];
    two.go();
    await pending[1];
    expect((await ada.get('/read')).json()).to.deep.equal({ counter: 1, large: 'two' });
  });
});

/** Text of this length. */
function noise(length: number): string {
  let text = '';
  for (let i = 0; text.length < length; i++) text += createHash('sha256').update(String(i)).digest('hex');
  return text.slice(0, length);
}
