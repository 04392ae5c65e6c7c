import { expect } from 'chai';
import grant from 'grant';
import { oauthProvider } from '../../provider.js';
import { urlOf } from '../../trial.js';

export default async function grantKoa(trial) {
  const provider = urlOf(await trial.serve(oauthProvider()));
  const app = trial.app();
  const server = await trial.serve(app);
  app.use(
    grant.koa()({
      defaults: { origin: urlOf(server), transport: 'session', state: true, pkce: true },
      custom: {
        key: 'app',
        secret: 'secret',
        oauth: 2,
        authorize_url: `${provider}/authorize`,
        access_url: `${provider}/token`,
        callback: '/hello',
      },
    }),
  );
  app.use((ctx) => {
    ctx.body = ctx.session.grant?.response ?? 'nobody';
  });

  const visitor = trial.visitor(server);
  expect((await visitor.follow('/connect/custom')).json().access_token).to.equal('token of ada');
  expect((await visitor.json('/')).access_token).to.equal('token of ada');

  const begun = await trial.visitor(server).get('/connect/custom');
  const callback = new URL((await fetch(begun.headers.location, { redirect: 'manual' })).headers.get('location'));
  const forged = await trial.visitor(server).follow(callback.pathname + callback.search);
  expect(forged.body).not.to.contain('token of ada');
}
