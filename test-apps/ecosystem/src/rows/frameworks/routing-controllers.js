import 'reflect-metadata';
import { expect } from 'chai';
import { Body, Controller, Ctx, Get, Post, Session, SessionParam, useKoaServer } from 'routing-controllers';
import { count, visitCounter } from '../../counter.js';

/** The decorators, called as functions: there is no compiler here. */
class CartController {
  count(ctx) {
    return String(count(ctx));
  }

  add(session, { item }) {
    session.cart = [...(session.cart ?? []), item];
    return 'added';
  }

  list(cart) {
    return cart ?? [];
  }
}

const { prototype } = CartController;
Ctx()(prototype, 'count', 0);
Get('/count')(prototype, 'count');
Session()(prototype, 'add', 0);
Body()(prototype, 'add', 1);
Post('/add')(prototype, 'add');
SessionParam('cart')(prototype, 'list', 0);
Get('/list')(prototype, 'list');
Controller('/cart')(CartController);

export default async function routingControllers(trial) {
  const app = trial.app();
  // biome-ignore lint/correctness/useHookAtTopLevel: the name only sounds like React's
  useKoaServer(app, { controllers: [CartController] });
  const visitor = await trial.visit(app);
  await visitCounter(visitor, '/cart/count');
  for (const item of ['book', 'pen'])
    expect((await visitor.post('/cart/add', { json: { item } })).body).to.equal('added');
  expect(await visitor.json('/cart/list')).to.deep.equal(['book', 'pen']);
}
