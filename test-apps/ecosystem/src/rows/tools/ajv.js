import Ajv from 'ajv';
import { expect } from 'chai';
import { withSession } from './session-in-hand.js';

const validate = new Ajv({ useDefaults: true }).compile({
  type: 'object',
  required: ['user'],
  additionalProperties: false,
  properties: { user: { type: 'object' }, cart: { type: 'array' }, theme: { default: 'dark' } },
});

export default async function ajv(trial) {
  const stored = await withSession(trial, (session) => {
    expect(validate(session), JSON.stringify(validate.errors)).to.equal(true);
    const { user } = session;
    delete session.user;
    expect(validate(session)).to.equal(false);
    session.user = user;
  });
  expect(stored.theme, 'a default that ajv assigned').to.equal('dark');
}
