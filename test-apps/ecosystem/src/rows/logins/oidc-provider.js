import { createHash, generateKeyPairSync, randomBytes } from 'node:crypto';
import { expect } from 'chai';
import mount from 'koa-mount';
import { Provider } from 'oidc-provider';
import { urlOf } from '../../trial.js';

/** The provider is mounted in the app, whose session says who is logged in when the provider asks. */
export default async function oidcProvider(trial) {
  const app = trial.app();
  const server = await trial.serve(app);
  const home = urlOf(server);
  const provider = makeProvider(home);
  app.use(mount('/oidc', provider));
  app.use((ctx) => {
    if (ctx.path.startsWith('/interaction/')) return interact(ctx, provider);
    if (ctx.path === '/login') ctx.session.user = 'ada';
    ctx.body = ctx.path === '/callback' ? ctx.query : { user: ctx.session.user, asked: ctx.session.asked };
  });

  const visitor = trial.visitor(server);
  const verifier = randomBytes(32).toString('base64url');
  expect((await authorize(visitor, verifier)).body, 'before the login').to.equal('log in first');
  await visitor.get('/login');
  const { code, state } = (await authorize(visitor, verifier)).json();
  expect(state).to.equal('some state');
  expect(await visitor.json('/'), 'what the interaction stored').to.deep.equal({
    user: 'ada',
    asked: ['login', 'login', 'consent'],
  });

  const tokens = await trial
    .visitor(server)
    .postForm(
      '/oidc/token',
      { grant_type: 'authorization_code', code, redirect_uri: `${home}/callback`, code_verifier: verifier },
      { authorization: `Basic ${btoa('app:secret')}` },
    );
  const [, claims] = tokens.json().id_token.split('.');
  expect(JSON.parse(Buffer.from(claims, 'base64url')).sub).to.equal('ada');
}

/** Responds past Koa, after the session changed. */
async function interact(ctx, provider) {
  const { prompt, params, session } = await provider.interactionDetails(ctx.req, ctx.res);
  ctx.session.asked = [...(ctx.session.asked ?? []), prompt.name];
  if (!ctx.session.user) {
    ctx.body = 'log in first';
    return;
  }
  let result = { login: { accountId: ctx.session.user } };
  if (prompt.name === 'consent') {
    const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
    grant.addOIDCScope('openid');
    result = { consent: { grantId: await grant.save() } };
  }
  ctx.respond = false;
  await provider.interactionFinished(ctx.req, ctx.res, result, { mergeWithLastSubmission: false });
}

function makeProvider(home) {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return new Provider(`${home}/oidc`, {
    clients: [{ client_id: 'app', client_secret: 'secret', redirect_uris: [`${home}/callback`] }],
    cookies: { keys: ['some keys'] },
    jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'ES256' }] },
    clientDefaults: { id_token_signed_response_alg: 'ES256' },
    features: { devInteractions: { enabled: false } },
    interactions: { url: (_ctx, { uid }) => `/interaction/${uid}` },
    findAccount: (_ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  });
}

function authorize(visitor, verifier) {
  const query = new URLSearchParams({
    client_id: 'app',
    response_type: 'code',
    redirect_uri: `${visitor.url}/callback`,
    scope: 'openid',
    state: 'some state',
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
  });
  return visitor.follow(`/oidc/auth?${query}`);
}
