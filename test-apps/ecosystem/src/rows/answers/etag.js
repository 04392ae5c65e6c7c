import { expect } from 'chai';
import conditional from 'koa-conditional-get';
import etag from 'koa-etag';
import { count } from '../../counter.js';

/** A page that the browser has already is a 304, and the change of the session is stored all the same. */
export default async function koaEtag(trial) {
  const app = trial.app();
  app.use(conditional());
  app.use(etag());
  app.use((ctx) => {
    if (ctx.path === '/count') ctx.body = String(ctx.session.count ?? 0);
    else {
      count(ctx);
      ctx.body = 'the same page each time';
    }
  });
  const visitor = await trial.visit(app);
  const first = await visitor.get('/');
  expect(first.headers.etag).to.match(/^"/);
  for (const visit of [2, 3]) {
    const again = await visitor.get('/', { headers: { 'if-none-match': first.headers.etag } });
    expect([again.status, again.body]).to.deep.equal([304, '']);
    expect((await visitor.get('/count')).body).to.equal(String(visit));
  }
}
