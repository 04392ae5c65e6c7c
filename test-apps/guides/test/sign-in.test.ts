import { createHash } from 'node:crypto';
import { expect } from 'chai';
import { beginSignIn, endSignIn, type OpenIdProvider } from 'guides/sign-in';
import { createLocalJWKSet, exportJWK, generateKeyPair, type JWTPayload, SignJWT } from 'jose';
import Koa from 'koa';
import { session } from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import { Client, type Served, serve } from 'testkit';

const ISSUER = 'https://id.example.com';

describe('the guide to signing in with a provider', () => {
  const open: Served[] = [];
  afterEach(async () => {
    await Promise.all(open.splice(0).map((served) => served.close()));
  });

  async function start(app: Koa): Promise<Served> {
    const served = await serve(app);
    open.push(served);
    return served;
  }

  /** An app and its provider. `claims` are what the provider says instead of the truth, `token` its whole response. */
  async function startBoth({ claims = {}, token }: { claims?: JWTPayload; token?: unknown } = {}) {
    const { privateKey, publicKey } = await generateKeyPair('ES256');
    const keys = createLocalJWKSet({ keys: [{ ...(await exportJWK(publicKey)), alg: 'ES256' }] });
    const codes = new Map<string, URLSearchParams>();
    const id = new Koa();
    id.use(async (ctx) => {
      const form = new URLSearchParams(await new Response(ctx.req as never).text());
      const asked = codes.get(form.get('code') ?? '');
      codes.delete(form.get('code') ?? '');
      const challenge = createHash('sha256')
        .update(form.get('code_verifier') ?? '')
        .digest('base64url');
      if (!asked || challenge !== asked.get('code_challenge')) return ctx.throw(400);
      const id_token = await new SignJWT({ nonce: asked.get('nonce'), sid: 's1', ...claims })
        .setProtectedHeader({ alg: 'ES256' })
        .setIssuer(claims.iss ?? ISSUER)
        .setAudience((claims.aud as string) ?? 'shop')
        .setSubject('ada')
        .setExpirationTime('1 minute')
        .sign(privateKey);
      ctx.body = token ?? { id_token };
    });
    const { url } = await start(id);
    const provider: OpenIdProvider = {
      ...{ issuer: ISSUER, authorizationEndpoint: `${ISSUER}/authorize`, tokenEndpoint: `${url}/token`, keys },
      ...{ clientId: 'shop', clientSecret: 'secret', redirectUri: 'https://shop.example.com/callback' },
    };
    const sessions = session(new MemoryStore());
    const app = new Koa();
    app.silent = true;
    app.use(sessions);
    const routes: Record<string, Koa.Middleware> = {
      '/login': beginSignIn(provider),
      '/callback': endSignIn(sessions, provider),
    };
    app.use(async (ctx, next) => {
      const { [ctx.path]: route = () => undefined } = routes;
      if (ctx.path === '/') ctx.body = sessions.of(ctx).owner ?? 'nobody';
      await route(ctx, next);
    });
    const shop = await start(app);
    return { sessions, visitor: () => new Client(shop), codes };
  }

  type Both = Awaited<ReturnType<typeof startBoth>>;

  /** Goes to the provider, which gives a code. Returns the way back. */
  async function logIn(visitor: Client, { codes }: Both): Promise<string> {
    const asked = new URL((await visitor.get('/login')).headers.location as string).searchParams;
    codes.set('c0de', asked);
    return `/callback?code=c0de&state=${asked.get('state')}`;
  }

  it('logs in, with a new id, the subject as the owner, and the sid of the provider', async () => {
    const both = await startBoth();
    const ada = both.visitor();
    const back = await logIn(ada, both);
    const { cookie } = ada;
    expect((await ada.get(back)).headers.location).to.equal('/');
    expect(ada.cookie).not.to.equal(cookie);
    expect((await ada.get('/')).body).to.equal('ada');
    expect(await both.sessions.revoke({ sid: 's1' })).to.equal(1);
    expect((await ada.get('/')).body).to.equal('nobody');
  });

  it('takes each way back once, and only from the browser that began', async () => {
    const both = await startBoth();
    const ada = both.visitor();
    const back = await logIn(ada, both);
    expect((await both.visitor().get(back)).status).to.equal(400); // a link that an attacker sends
    expect((await ada.get(back)).status).to.equal(302);
    expect((await ada.get(back)).status).to.equal(400);
  });

  it('refuses another state, a visitor who declined, and a code that the provider does not know', async () => {
    const both = await startBoth();
    for (const [change, status] of [
      [(back: string) => `${back}x`, 400],
      [(back: string) => back.replace('code=c0de', 'error=access_denied'), 400],
      [(back: string) => back.replace('c0de', 'guessed'), 502],
    ] as const) {
      const ada = both.visitor();
      expect((await ada.get(change(await logIn(ada, both)))).status).to.equal(status);
      expect((await ada.get('/')).body).to.equal('nobody');
    }
  });

  for (const [title, options, status] of [
    ['the nonce of another login', { claims: { nonce: 'x' } }, 400],
    ['the token of another app', { claims: { aud: 'forum' } }, 400],
    ['the token of another provider', { claims: { iss: 'https://evil.example' } }, 400],
    ['a response without a token', { token: {} }, 502],
    ['a response that is not JSON', { token: '<html>' }, 502],
  ] as const)
    it(`refuses ${title}`, async () => {
      const both = await startBoth(options);
      const ada = both.visitor();
      expect((await ada.get(await logIn(ada, both))).status).to.equal(status);
      expect((await ada.get('/')).body).to.equal('nobody');
    });
});
