import { createRequire } from 'node:module';
import { expect } from 'chai';
import Koa from 'koa';
import bodyParser from 'koa-bodyparser';
import { count } from '../../counter.js';
import { urlOf } from '../../trial.js';

const casClient = createRequire(import.meta.url)('http-cas-client/wrap/koa2-session');

/** Every request changes the session, also those that the client answers past Koa. */
export default async function httpCasClient(trial) {
  const cas = urlOf(await trial.serve(casServer()));
  const app = trial.app();
  const server = await trial.serve(app);
  const home = urlOf(server);
  app.use(bodyParser());
  app.use((ctx, next) => {
    count(ctx);
    return next();
  });
  app.use(casClient({ casServerUrlPrefix: `${cas}/cas`, serverName: home }));
  app.use((ctx) => {
    ctx.body = { user: ctx.principal.user, count: ctx.session.count };
  });

  const visitor = trial.visitor(server);
  expect((await visitor.get('/')).headers.location).to.equal(
    `${cas}/cas/login?service=${encodeURIComponent(`${home}/`)}`,
  );
  // Redirected three times: to the server, back with a ticket, and without it.
  expect((await visitor.follow('/')).json()).to.deep.equal({ user: 'ada', count: 4 });

  const logoutRequest = '<LogoutRequest><SessionIndex>ST-1</SessionIndex></LogoutRequest>';
  await visitor.postForm('/', { logoutRequest });
  expect((await visitor.get('/')).status, 'after the sign-off').to.equal(302);
  expect((await visitor.follow('/')).json(), 'the next login').to.deep.equal({ user: 'ada', count: 9 });
}

/** A small CAS server that logs everyone in as Ada. */
function casServer() {
  let tickets = 0;
  const app = new Koa();
  app.use((ctx) => {
    if (ctx.path === '/cas/login') {
      const service = new URL(ctx.query.service);
      service.searchParams.set('ticket', `ST-${++tickets}`);
      ctx.redirect(service.href);
    } else if (ctx.path === '/cas/p3/serviceValidate') {
      ctx.type = 'xml';
      ctx.body = `<cas:serviceResponse xmlns:cas="http://www.yale.edu/tp/cas"><cas:authenticationSuccess>
        <cas:user>ada</cas:user></cas:authenticationSuccess></cas:serviceResponse>`;
    }
  });
  return app;
}
