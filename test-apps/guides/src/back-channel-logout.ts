import { text } from 'node:stream/consumers';
import { type JWTPayload, type JWTVerifyGetKey, jwtVerify } from 'jose';
import type * as Koa from 'koa';
import type { Sessions } from 'koa-wsession';

/** What is known of the identity provider; `keys` is `createRemoteJWKSet(new URL('https://id.example.com/jwks'))`. */
export interface Provider {
  readonly issuer: string;
  readonly clientId: string;
  readonly keys: JWTVerifyGetKey;
}

const EVENT = 'http://schemas.openid.net/event/backchannel-logout';

/** The endpoint that the provider tells of logouts (OpenID Connect Back-Channel Logout 1.0, 2.5 to 2.8). */
export function backChannelLogout(sessions: Sessions, provider: Provider): Koa.Middleware {
  return async (ctx) => {
    ctx.set('Cache-Control', 'no-store');
    const length = Number(ctx.get('Content-Length') || Number.POSITIVE_INFINITY);
    const form = length <= 16_384 ? await text(ctx.req) : '';
    const claims = await verify(new URLSearchParams(form).get('logout_token') ?? '', provider);
    if (!claims) {
      ctx.status = 400;
      ctx.body = { error: 'invalid_request' };
      return;
    }
    const { sid, sub } = claims;
    await sessions.revoke(typeof sid === 'string' ? { sid } : (sub as string));
    ctx.status = 204;
  };
}

/** The claims of a valid logout token: with one of these, a provider ends what a login of `logIn(sub, { sid })` began. */
async function verify(token: string, { issuer, clientId, keys }: Provider): Promise<JWTPayload | undefined> {
  try {
    const { payload } = await jwtVerify(token, keys, {
      issuer,
      audience: clientId,
      requiredClaims: ['iat', 'exp', 'jti'],
      algorithms: ['RS256', 'PS256', 'ES256', 'EdDSA'],
      maxTokenAge: '2 minutes',
    });
    const { sid, sub, events, nonce } = payload as JWTPayload & { events?: Record<string, unknown> };
    const isLogout = typeof events?.[EVENT] === 'object' && nonce === undefined;
    return isLogout && (typeof sid === 'string' || typeof sub === 'string') ? payload : undefined;
  } catch {
    return undefined;
  }
}
