import { expect } from 'chai';
import mount from 'koa-mount';
import { count, visitCounter } from '../../counter.js';

/** An app and an app mounted in it use one session middleware. */
export default async function mountTwice(trial) {
  const app = trial.bareApp();
  const sessions = trial.session(app);
  const inner = trial.bareApp();
  inner.use(sessions);
  inner.use((ctx) => {
    ctx.body = String(count(ctx));
  });
  app.use(sessions);
  app.use(mount('/inner', inner));
  app.use((ctx) => {
    ctx.body = String(ctx.session.count ?? 0);
  });

  const visitor = await trial.visit(app);
  await visitCounter(visitor, '/inner');
  expect((await visitor.get('/')).body).to.equal('3');
}
