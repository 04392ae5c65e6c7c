import Router from '@koa/router';
import { expect } from 'chai';
import { count, visitCounter } from '../../counter.js';

/** The session middleware on a router, and again on one nested in it. */
export default async function nestedRouter(trial) {
  const app = trial.bareApp();
  const sessions = trial.session(app);
  const items = new Router();
  items.use(sessions);
  items.get('/:item', (ctx) => {
    ctx.body = String(count(ctx));
  });
  const shop = new Router({ prefix: '/shop' });
  shop.use(sessions);
  shop.get('/', (ctx) => {
    ctx.body = String(ctx.session.count ?? 0);
  });
  shop.use('/items', items.routes(), items.allowedMethods());
  app.use(shop.routes()).use(shop.allowedMethods());

  const visitor = await trial.visit(app);
  await visitCounter(visitor, '/shop/items/book');
  expect((await visitor.get('/shop')).body).to.equal('3');
}
