import { expect } from 'chai';
import { backChannelLogout } from 'guides/back-channel-logout';
import { watchGuessing } from 'guides/guessing';
import { logInFrom } from 'guides/new-device';
import { askAgain } from 'guides/step-up';
import { createLocalJWKSet, exportJWK, generateKeyPair, SignJWT } from 'jose';
import Koa from 'koa';
import { session } from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import { Client, type Served, serve } from 'testkit';

const EVENT = 'http://schemas.openid.net/event/backchannel-logout';
const ISSUER = 'https://id.example.com';

describe('the guide to the standards', () => {
  const open: Served[] = [];
  afterEach(async () => {
    await Promise.all(open.splice(0).map((served) => served.close()));
  });

  async function start(app: Koa): Promise<Client> {
    const served = await serve(app);
    open.push(served);
    return new Client(served);
  }

  describe('back-channel logout', () => {
    async function openShop() {
      const { privateKey, publicKey } = await generateKeyPair('ES256');
      const keys = createLocalJWKSet({ keys: [{ ...(await exportJWK(publicKey)), kid: '1', alg: 'ES256' }] });
      const sessions = session(new MemoryStore());
      const app = new Koa();
      app.silent = true;
      const endpoint = backChannelLogout(sessions, { issuer: ISSUER, clientId: 'shop', keys });
      app.use((ctx, next) => (ctx.path === '/backchannel-logout' ? endpoint(ctx, next) : next()));
      app.use(sessions);
      app.use(async (ctx) => {
        const { sub, sid } = ctx.query as Record<string, string>;
        if (ctx.path === '/callback') await sessions.of(ctx).logIn(sub as string, { sid });
        ctx.body = sessions.of(ctx).owner ?? 'nobody';
      });
      const provider = await start(app);
      const logIn = async (sub: string, sid: string): Promise<Client> => {
        const visitor = new Client(provider.url);
        await visitor.get(`/callback?sub=${sub}&sid=${sid}`);
        return visitor;
      };
      /** A logout token with these claims instead of the right ones. */
      const tokenWith = (claims: Record<string, unknown>, key = privateKey): Promise<string> => {
        const now = Math.floor(Date.now() / 1000);
        const right = { iss: ISSUER, aud: 'shop', iat: now, exp: now + 120, jti: 'j1', events: { [EVENT]: {} } };
        return new SignJWT(JSON.parse(JSON.stringify({ ...right, ...claims })))
          .setProtectedHeader({ alg: 'ES256', kid: '1', typ: 'logout+jwt' })
          .sign(key);
      };
      const tell = async (token: string): Promise<number> => {
        const headers = { 'content-type': 'application/x-www-form-urlencoded' };
        const body = new URLSearchParams({ logout_token: token }).toString();
        const reply = await provider.post('/backchannel-logout', { headers, body });
        expect(reply.headers['cache-control']).to.equal('no-store');
        return reply.status;
      };
      return { logIn, tell, tokenWith };
    }

    const ownersOf = async (visitors: readonly Client[]): Promise<string[]> =>
      Promise.all(visitors.map(async (one) => (await one.get('/')).body));

    it('with a sid ends the session of that login; with a sub alone all of that user', async () => {
      const { logIn, tell, tokenWith } = await openShop();
      const visitors = [await logIn('ada', 's1'), await logIn('ada', 's2'), await logIn('bob', 's3')];
      expect(await tell(await tokenWith({ sid: 's1', sub: 'ada' }))).to.equal(204);
      expect(await ownersOf(visitors)).to.deep.equal(['nobody', 'ada', 'bob']);
      expect(await tell(await tokenWith({ sub: 'ada' }))).to.equal(204);
      expect(await ownersOf(visitors)).to.deep.equal(['nobody', 'nobody', 'bob']);
    });

    it('refuses any other token, and ends nothing', async () => {
      const { logIn, tell, tokenWith } = await openShop();
      const ada = await logIn('ada', 's1');
      const past = Math.floor(Date.now() / 1000) - 600;
      const { privateKey: foreign } = await generateKeyPair('ES256');
      const bad = [
        '',
        'nonsense',
        await tokenWith({ sid: 's1' }, foreign),
        await tokenWith({ sid: 's1', iss: 'https://evil.example' }),
        await tokenWith({ sid: 's1', aud: 'another' }),
        await tokenWith({ sid: 's1', exp: past + 120, iat: past }),
        await tokenWith({ sid: 's1', iat: past }),
        await tokenWith({ sid: 's1', jti: undefined }),
        await tokenWith({ sid: 's1', events: undefined }),
        await tokenWith({ sid: 's1', nonce: 'n' }),
        await tokenWith({}),
        'x'.repeat(20_000),
      ];
      for (const token of bad) expect(await tell(token), token.slice(0, 200)).to.equal(400);
      expect(await ownersOf([ada])).to.deep.equal(['ada']);
    });
  });

  it('sends visitors whose login is too old to the password page, and back', async () => {
    const sessions = session(new MemoryStore());
    const app = new Koa();
    app.silent = true;
    app.use(askAgain).use(sessions).use(sessions.requireFresh(300));
    const { get } = await start(app).then((client) => ({ get: client.get.bind(client) }));
    const reply = await get('/account/email?a=1', { headers: { accept: 'text/html' } });
    expect([reply.status, reply.headers.location]).to.deep.equal([302, '/password?from=%2Faccount%2Femail%3Fa%3D1']);
    expect((await get('/account/email', { headers: { accept: 'application/json' } })).status).to.equal(401);
  });

  it('raises an alarm once for an address that sends many invalid tokens, and not for expired or replaced ones', async () => {
    const alarms: string[] = [];
    const app = new Koa({ proxy: true });
    const sessions = session(new MemoryStore());
    app.use(watchGuessing((address) => alarms.push(address), 5));
    app.use(sessions);
    app.use(async (ctx) => {
      if (ctx.path === '/login') await sessions.of(ctx).logIn('ada');
      ctx.body = sessions.of(ctx).owner ?? 'nobody';
    });
    const visitor = await start(app);
    const send = async (address: string, cookie: string, times: number): Promise<void> => {
      for (let i = 0; i < times; i++)
        await visitor.get('/', { headers: { cookie: `wsession=${cookie}`, 'x-forwarded-for': address } });
    };
    await send('10.0.0.1', 'x', 5);
    await send('10.0.0.2', 'A'.repeat(32), 5);
    expect(alarms).to.deep.equal([]);
    await send('10.0.0.2', 'B'.repeat(32), 5);
    expect(alarms).to.deep.equal(['10.0.0.2']);
    await visitor.get('/login');
    const old = visitor.jar.get('wsession') as string;
    await visitor.get('/login');
    await send('10.0.0.3', old, 10);
    expect(alarms).to.deep.equal(['10.0.0.2']);
  });

  it('notices a login from a new device', async () => {
    const notices: string[] = [];
    const sessions = session(new MemoryStore());
    const app = new Koa();
    app.use(sessions);
    app.use(async (ctx) => {
      await logInFrom(ctx, sessions, 'ada', async (user, device) => void notices.push(`${user}: ${device}`));
      ctx.body = 'ok';
    });
    const { url } = await start(app);
    const firefox = 'Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0';
    const iphone = 'Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Mobile/15E148 Safari/604.1';
    for (const agent of [firefox, firefox, iphone, iphone])
      await new Client(url).get('/', { headers: { 'user-agent': agent } });
    expect(notices).to.deep.equal(['ada: Safari on iPhone']);
  });
});
