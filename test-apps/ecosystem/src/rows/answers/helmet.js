import { expect } from 'chai';
import helmet from 'koa-helmet';
import { count, visitCounter } from '../../counter.js';

export default async function koaHelmet(trial) {
  const app = trial.app();
  app.use(helmet());
  app.use((ctx) => {
    ctx.body = String(count(ctx));
  });
  const visitor = await trial.visit(app);
  await visitCounter(visitor);
  const { headers } = await visitor.get('/');
  expect(headers['content-security-policy']).to.contain("default-src 'self'");
  expect(headers['x-frame-options']).to.equal('SAMEORIGIN');
}
