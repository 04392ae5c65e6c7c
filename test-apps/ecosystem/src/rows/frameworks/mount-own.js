import { expect } from 'chai';
import mount from 'koa-mount';
import { count } from '../../counter.js';

/** A mounted app has a session of its own, under another name. */
export default async function mountOwn(trial) {
  const app = trial.app();
  const inner = trial.app({ name: 'inner' });
  inner.use((ctx) => {
    ctx.session.where = 'inner';
    ctx.body.inner = count(ctx);
  });
  app.use(async (ctx, next) => {
    ctx.body = { before: count(ctx) };
    await next();
    ctx.body.after = [ctx.session.count, ctx.session.where ?? 'outer'];
  });
  app.use(mount('/inner', inner));

  const visitor = await trial.visit(app);
  expect(await visitor.json('/')).to.deep.equal({ before: 1, after: [1, 'outer'] });
  expect(await visitor.json('/inner')).to.deep.equal({ before: 2, inner: 1, after: [2, 'outer'] });
  expect(await visitor.json('/inner')).to.deep.equal({ before: 3, inner: 2, after: [3, 'outer'] });
  expect(visitor.jar.has('inner'), 'a cookie of its own').to.equal(true);
}
