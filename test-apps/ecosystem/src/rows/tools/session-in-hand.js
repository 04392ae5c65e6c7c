import { expect } from 'chai';

/**
 * Visits an app whose second request hands its session to `use`: `{ user: { name: 'ada' }, cart: [{ item: 'book', n: 2 }] }`.
 * What `use` throws is this row's failure; what it left in the session is returned.
 */
export async function withSession(trial, use) {
  const app = trial.app();
  let failure;
  app.use(async (ctx) => {
    if (ctx.path === '/fill') {
      ctx.session.user = { name: 'ada' };
      ctx.session.cart = [{ item: 'book', n: 2 }];
    } else if (ctx.path === '/use') {
      try {
        await use(ctx.session, ctx);
      } catch (error) {
        failure = error;
      }
    }
    ctx.body = JSON.stringify(ctx.session);
  });
  const visitor = await trial.visit(app);
  await visitor.get('/fill');
  const { status, body } = await visitor.get('/use');
  if (failure) throw failure;
  expect(status, body).to.equal(200);
  return visitor.json('/');
}

export const FILLED = { user: { name: 'ada' }, cart: [{ item: 'book', n: 2 }] };
