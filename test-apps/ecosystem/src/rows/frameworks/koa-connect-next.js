import { expect } from 'chai';
import connect from 'koa-connect';
import { visitCounter } from '../../counter.js';

/** Express middleware that changes the session, and calls `next`. */
export default async function koaConnectNext(trial) {
  const app = trial.app();
  app.use((ctx, next) => {
    ctx.req.session = ctx.session;
    return next();
  });
  app.use(
    connect((req, res, next) => {
      req.session.count = (req.session.count ?? 0) + 1;
      res.setHeader('X-Count', String(req.session.count));
      if (req.url === '/fail') next(Object.assign(new Error('refused'), { status: 403 }));
      else setImmediate(next);
    }),
  );
  app.use((ctx) => {
    ctx.body = String(ctx.session.count);
  });
  const visitor = await trial.visit(app);
  await visitCounter(visitor);
  expect((await visitor.get('/fail')).status).to.equal(403);
  expect((await visitor.get('/')).body, 'the count after an error').to.equal('5');
}
