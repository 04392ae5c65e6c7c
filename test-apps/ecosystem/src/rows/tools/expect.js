import { expect as chai } from 'chai';
import { FILLED, withSession } from './session-in-hand.js';

/** Assertions of tests, on a session as on the object that it looks like. */
const ASSERTIONS = {
  chai(session) {
    chai(session).to.deep.equal(FILLED);
    chai(session).to.be.an('object').that.has.all.keys('user', 'cart');
    chai(session).to.have.nested.property('cart[0].item', 'book');
    chai(() => chai(session).to.deep.equal({ ...FILLED, user: { name: 'bob' } })).to.throw(/to deeply equal/);
  },
  async expect(session) {
    const { expect } = await import('expect');
    assertLikeJest(expect, session);
    chai(() => expect(session).toEqual({ ...FILLED, user: { name: 'bob' } })).to.throw(/"ada"/);
  },
  async '@vitest/expect'(session) {
    const [{ JestChaiExpect }, { Assertion, use }] = await Promise.all([import('@vitest/expect'), import('chai')]);
    use(JestChaiExpect);
    const expect = (value) => new Assertion(value);
    assertLikeJest(expect, session);
    chai(() => expect(session).toEqual({ ...FILLED, user: { name: 'bob' } })).to.throw(/deeply equal/);
  },
};

function assertLikeJest(expect, session) {
  expect(session).toEqual(FILLED);
  expect({ ...session }).toStrictEqual(FILLED); // which compares `constructor`, a name that is data in a session
  expect(session).toMatchObject({ user: { name: 'ada' } });
  expect(session).toHaveProperty('cart', FILLED.cart);
  expect(session).toBeInstanceOf(Object);
}

export default async function assertions(trial, name) {
  await withSession(trial, (session) => ASSERTIONS[name](session));
}
