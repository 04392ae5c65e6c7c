import { expect } from 'chai';
import { FILLED, withSession } from './session-in-hand.js';

/** `structuredClone` refuses every proxy: a copy is what it takes. */
export default async function clone(trial) {
  await withSession(trial, (session) => {
    if (trial.isOurs) expect(() => structuredClone(session)).to.throw(/could not be cloned/);
    expect(structuredClone({ ...session })).to.deep.include(FILLED);
    expect(structuredClone(session.cart)).to.deep.equal(FILLED.cart);
  });
}
