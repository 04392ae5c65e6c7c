import { createHash, randomUUID } from 'node:crypto';
import Koa from 'koa';
import bodyParser from 'koa-bodyparser';

/** A small OAuth 2 provider that insists on PKCE, and logs everyone in as Ada. */
export function oauthProvider() {
  const grants = new Map();
  const app = new Koa();
  app.use(bodyParser());
  app.use((ctx) => {
    if (ctx.path === '/authorize') {
      const { redirect_uri, state, code_challenge, code_challenge_method } = ctx.query;
      ctx.assert(state && code_challenge && code_challenge_method === 'S256', 400, 'state and PKCE are needed');
      const code = randomUUID();
      grants.set(code, code_challenge);
      ctx.redirect(`${redirect_uri}?${new URLSearchParams({ code, state })}`);
    } else if (ctx.path === '/token') {
      const { code, code_verifier = '' } = ctx.request.body;
      const challenge = createHash('sha256').update(code_verifier).digest('base64url');
      ctx.assert(grants.get(code) === challenge, 400, 'the verifier is another one');
      grants.delete(code);
      ctx.body = { access_token: 'token of ada', token_type: 'bearer' };
    } else if (ctx.path === '/me') {
      ctx.assert(ctx.get('authorization') === 'Bearer token of ada', 401);
      ctx.body = { name: 'ada' };
    }
  });
  return app;
}
