import { expect } from 'chai';
import { z } from 'zod';
import { FILLED, withSession } from './session-in-hand.js';

const Data = z.strictObject({
  user: z.object({ name: z.string() }),
  cart: z.array(z.object({ item: z.string(), n: z.int() })),
});

export default async function zod(trial) {
  const stored = await withSession(trial, (session) => {
    const data = Data.parse(session);
    expect(data).to.deep.equal(FILLED);
    data.cart.push({ item: 'pen', n: 1 });
    session.cart = data.cart;
    expect(Data.safeParse(session).success).to.equal(true);
    session.cart = 'no list';
    expect(Data.safeParse(session).error.issues[0].path).to.deep.equal(['cart']);
    session.cart = data.cart;
  });
  expect(stored.cart).to.have.length(2);
}
