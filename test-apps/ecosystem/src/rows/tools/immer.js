import { expect } from 'chai';
import { produce } from 'immer';
import { withSession } from './session-in-hand.js';

export default async function immer(trial) {
  const stored = await withSession(trial, (session, ctx) => {
    session.cart = produce(session.cart, (cart) => {
      cart.push({ item: 'pen', n: 1 });
    });
    expect(Object.isFrozen(session.cart)).to.equal(true);
    ctx.session = produce({ ...session }, (data) => {
      data.user.name = 'bob';
      delete data.cart[0];
      data.cart.shift();
    });
  });
  expect(stored).to.deep.equal({ user: { name: 'bob' }, cart: [{ item: 'pen', n: 1 }] });
}
