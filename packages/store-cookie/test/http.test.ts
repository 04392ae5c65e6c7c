import { createHash } from 'node:crypto';
import { CookieStore } from '@koa-wsession/store-cookie';
import { expect } from 'chai';
import type Koa from 'koa';
import { headerTransport, type SessionOptions, type Sessions } from 'koa-wsession';
import type { Store } from 'koa-wsession/store';
import sinon from 'sinon';
import { makeStore, OTHER_SECRET, SECRET } from './support.js';
import { count, type Handler, makeWorld, read, type World } from './world.js';

describe('CookieStore over HTTP', () => {
  const worlds: World[] = [];
  async function open(store: Store, handlers: Record<string, Handler>, options?: SessionOptions): Promise<World> {
    const world = await makeWorld(store, handlers, options);
    worlds.push(world);
    return world;
  }
  afterEach(async () => {
    sinon.restore();
    for (const world of worlds.splice(0)) await world.close();
  });

  it('counts 1, 2, 3, and a restarted server goes on counting', async () => {
    const { visitor } = await open(makeStore(), { '/': count });
    const ada = visitor();
    const bodies = [];
    for (let i = 0; i < 3; i++) bodies.push((await ada.get('/')).body);
    expect(bodies).to.deep.equal(['1', '2', '3']);
    const restarted = await open(makeStore(), { '/': count });
    expect((await restarted.visitor(ada.jar.get('wsession')).get('/')).body).to.equal('4');
  });

  it('sets a cookie with its attributes, whose value shows nothing of the content', async () => {
    const store = new CookieStore(SECRET, { expire: 77, domain: 'example.com' });
    const { visitor } = await open(store, {
      '/': (ctx) => {
        ctx.session.small = 'confidential';
      },
    });
    const [line] = (await visitor().get('/')).setCookie;
    expect(line).to.match(/^wsession=[\w-]+; Max-Age=77; Path=\/; Domain=example\.com; HttpOnly; SameSite=Lax$/);
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

  it('responds with 500 to a session that is too large, names bytes and keys, and keeps the old one', async () => {
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

    // A visitor without a session gets none.
    const bob = visitor();
    expect((await bob.get('/large?size=4000')).setCookie).to.deep.equal([]);
    expect((await bob.get('/read')).body).to.equal('{}');
  });

  it('restores a session of 8192 characters from a header', async () => {
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

  /** A handler that reads the session, then waits until `go` is called. */
  function slow(work: Handler): { handler: Handler; reached: Promise<void>; go(): void } {
    let reach!: () => void;
    let go!: () => void;
    const reached = new Promise<void>((resolve) => (reach = resolve));
    const going = new Promise<void>((resolve) => (go = resolve));
    const handler = async (ctx: Koa.Context, sessions: Sessions) => {
      const before = ctx.session.counter;
      reach();
      await going;
      await work(ctx, sessions);
      return before;
    };
    return { handler, reached, go };
  }

  for (const end of ['destroy', 'regenerate'] as const) {
    it(`responds with 409 to a request in progress during ${end}(), without a cookie`, async () => {
      const { handler, reached, go } = slow(count);
      const { visitor, errors } = await open(makeStore(), {
        '/': count,
        '/slow': handler,
        '/end': (ctx) => ctx.session[end](),
        '/read': read,
      });
      const ada = visitor();
      await ada.get('/');
      const pending = ada.get('/slow');
      await reached;
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

  it('after a login, gives the former cookie nothing, refuses its writes, and takes a second login', async () => {
    const { visitor, errors } = await open(makeStore(), {
      '/': count,
      '/login': (ctx, sessions) => sessions.of(ctx).logIn('ada'),
      '/owner': (ctx, sessions) => [sessions.of(ctx).owner, ctx.session.counter],
      '/read': read,
    });
    const ada = visitor();
    await ada.get('/');
    const former = ada.jar.get('wsession');
    await ada.get('/login');
    expect((await ada.get('/owner')).json()).to.deep.equal(['ada', 1]);

    const late = visitor(former);
    expect((await late.get('/read')).body).to.equal('{}');
    const { status, setCookie } = await late.get('/');
    expect([status, setCookie]).to.deep.equal([409, []]);
    expect(errors.map(({ code }) => code)).to.deep.equal(['WSESSION_GONE']);
    expect((await late.get('/login')).status).to.equal(200);
    expect((await late.get('/owner')).json()).to.deep.equal(['ada', 1]);

    // A minute later, the former cookie is as good as none.
    const latest = visitor(former);
    sinon.useFakeTimers({ now: Date.now() + 61_000, toFake: ['Date'] });
    expect((await latest.get('/')).body).to.equal('1');
    expect(latest.jar.get('wsession')).not.to.equal(former);
  });

  it('refuses the cookie of a request that ended just before the logout', async () => {
    const { visitor } = await open(makeStore(), {
      '/': count,
      '/remember': (ctx) => {
        ctx.session.maxAge = 30 * 86_400_000;
      },
      '/logout': (ctx) => ctx.session.destroy(),
      '/read': read,
    });
    const ada = visitor();
    await ada.get('/');
    const late = visitor(ada.jar.get('wsession'));
    await late.get('/remember');
    await ada.get('/logout');
    expect((await late.get('/read')).body).to.equal('{}');
  });

  it('refuses a copy of the cookie after the logout', async () => {
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

  it('accepts a cookie only under its name, and only with its secret', async () => {
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

  it('rotates secrets: the old one still opens, and the response is sealed with the new one', async () => {
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

  it('does not merge: of two parallel requests the last cookie wins, as the README says', async () => {
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
    await Promise.all([one.reached, two.reached]);
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
