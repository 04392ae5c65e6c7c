import { expect } from 'chai';
import _ from 'lodash';
import { FILLED, withSession } from './session-in-hand.js';

export default async function lodash(trial) {
  const stored = await withSession(trial, (session) => {
    expect(_.isPlainObject(session), 'isPlainObject').to.equal(true);
    expect(_.isEmpty(session)).to.equal(false);
    expect(_.isEqual(session, FILLED), 'isEqual').to.equal(true);
    expect(_.cloneDeep(session)).to.deep.equal(FILLED);
    expect(_.get(session, 'cart[0].item')).to.equal('book');
    expect(_.has(session, 'user.name')).to.equal(true);
    expect(_.pick(session, 'user')).to.deep.equal({ user: FILLED.user });
    expect(_.invoke(session, 'hasOwnProperty', 'user'), 'hasOwnProperty').to.equal(true);
    expect(_.keys(session)).to.deep.equal(['user', 'cart']);
    _.set(session, 'user.theme', 'dark');
    _.merge(session, { user: { age: 36 } });
    _.unset(session, 'cart');
    _.defaults(session, { visits: 1 });
  });
  expect(stored).to.deep.equal({ user: { name: 'ada', theme: 'dark', age: 36 }, visits: 1 });
}
