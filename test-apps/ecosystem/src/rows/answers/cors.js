import cors from '@koa/cors';
import { expect } from 'chai';
import { count, visitCounter } from '../../counter.js';

const ORIGIN = 'https://shop.example';

/** A page of another origin counts with its cookie; also where the handler fails. */
export default async function koaCors(trial) {
  const app = trial.bareApp();
  app.use(cors({ origin: ORIGIN, credentials: true }));
  app.use(trial.session(app));
  app.use((ctx) => {
    ctx.body = String(count(ctx));
    if (ctx.path === '/fail') ctx.throw(422, 'no');
  });
  const visitor = await trial.visit(app);
  const headers = { origin: ORIGIN };
  const preflight = await visitor.request('OPTIONS', '/', {
    headers: { ...headers, 'access-control-request-method': 'POST' },
  });
  expect([preflight.status, preflight.setCookie]).to.deep.equal([204, []]);
  await visitCounter(visitor, '/', { headers });

  const { headers: sent } = await visitor.get('/', { headers });
  expect(sent['access-control-allow-origin']).to.equal(ORIGIN);
  expect(sent['access-control-allow-credentials']).to.equal('true');
  expect(sent.vary.toLowerCase().split(/, */)).to.include('origin');

  const failed = await visitor.get('/fail', { headers });
  expect([failed.status, failed.headers['access-control-allow-origin']]).to.deep.equal([422, ORIGIN]);
  expect((await visitor.get('/')).body, 'the count after an error').to.equal('6');
}
