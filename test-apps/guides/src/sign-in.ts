import { createHash, randomBytes } from 'node:crypto';
import { type JWTVerifyGetKey, jwtVerify } from 'jose';
import type * as Koa from 'koa';
import type { Sessions } from 'koa-wsession';

/** What the provider's registration and its discovery document say. */
export interface OpenIdProvider {
  readonly issuer: string;
  readonly authorizationEndpoint: string;
  readonly tokenEndpoint: string;
  /** `createRemoteJWKSet(new URL(jwks_uri))` of jose. */
  readonly keys: JWTVerifyGetKey;
  readonly clientId: string;
  readonly clientSecret: string;
  /** The URL of `endSignIn` in your app. */
  readonly redirectUri: string;
}

declare module 'koa-wsession' {
  interface SessionData {
    /** What this visitor was sent to the provider with. */
    signIn?: { readonly state: string; readonly nonce: string; readonly verifier: string };
  }
}

const random = (): string => randomBytes(32).toString('base64url');

/** `GET /login`: sends the visitor to the provider (authorization code flow with PKCE, RFC 7636). */
export function beginSignIn(provider: OpenIdProvider): Koa.Middleware {
  return (ctx) => {
    const { state, nonce, verifier } = { state: random(), nonce: random(), verifier: random() };
    ctx.session.signIn = { state, nonce, verifier };
    const url = new URL(provider.authorizationEndpoint);
    url.search = new URLSearchParams({
      response_type: 'code',
      scope: 'openid',
      client_id: provider.clientId,
      redirect_uri: provider.redirectUri,
      state,
      nonce,
      code_challenge: createHash('sha256').update(verifier).digest('base64url'),
      code_challenge_method: 'S256',
    }).toString();
    ctx.redirect(url.href);
  };
}

/** `GET /callback`: where the provider sends the visitor afterwards. */
export function endSignIn(sessions: Sessions, provider: OpenIdProvider): Koa.Middleware {
  return async (ctx) => {
    const { signIn } = ctx.session;
    delete ctx.session.signIn; // it counts once
    const { code, state } = ctx.query;
    if (!signIn || state !== signIn.state || typeof code !== 'string') return ctx.throw(400, 'Please log in again.');
    const token = await exchange(code, signIn.verifier, provider);
    if (token === undefined) return ctx.throw(502, 'The login service did not respond as expected.');
    const { issuer, clientId, keys } = provider;
    const verified = await jwtVerify(token, keys, { issuer, audience: clientId }).catch(() => undefined);
    const { sub, sid, nonce } = verified?.payload ?? {};
    if (sub === undefined || nonce !== signIn.nonce) return ctx.throw(400, 'Please log in again.');
    await sessions.of(ctx).logIn(sub, { label: ctx.get('User-Agent'), ...(typeof sid === 'string' && { sid }) });
    ctx.redirect('/');
  };
}

/** The ID token for a code, or `undefined` where the provider gives none. */
async function exchange(code: string, verifier: string, provider: OpenIdProvider): Promise<string | undefined> {
  const { tokenEndpoint, clientId, clientSecret, redirectUri } = provider;
  try {
    const response = await fetch(tokenEndpoint, {
      method: 'POST',
      body: new URLSearchParams({
        grant_type: 'authorization_code',
        code,
        redirect_uri: redirectUri,
        code_verifier: verifier,
        client_id: clientId,
        client_secret: clientSecret,
      }),
      signal: AbortSignal.timeout(10_000),
    });
    const { id_token } = (await response.json()) as { id_token?: string };
    return response.ok ? id_token : undefined;
  } catch {
    return undefined;
  }
}
