import 'reflect-metadata';
import { expect } from 'chai';
import { plainToInstance, Type } from 'class-transformer';
import { IsInt, IsString, ValidateNested, validate } from 'class-validator';
import { FILLED, withSession } from './session-in-hand.js';

/** The decorators, called as functions: there is no compiler here. */
class User {}
IsString()(User.prototype, 'name');

class Item {}
IsString()(Item.prototype, 'item');
IsInt()(Item.prototype, 'n');

class Data {}
ValidateNested()(Data.prototype, 'user');
Type(() => User)(Data.prototype, 'user');
ValidateNested({ each: true })(Data.prototype, 'cart');
Type(() => Item)(Data.prototype, 'cart');

export default async function classValidator(trial) {
  const strict = { whitelist: true, forbidNonWhitelisted: true };
  const stored = await withSession(trial, async (session) => {
    const problems = await validate(plainToInstance(Data, session), strict);
    expect(
      problems.map(({ property }) => property),
      'what is wrong',
    ).to.deep.equal([]);
    session.cart[0].n = 'many';
    const [{ property, children }] = await validate(plainToInstance(Data, session), strict);
    expect([property, children[0].children[0].property]).to.deep.equal(['cart', 'n']);
    session.cart[0].n = 2;
    session.user = { ...session.user, theme: 'dark' };
    expect(await validate(plainToInstance(Data, session), strict)).to.have.length(1);
  });
  expect(stored).to.deep.equal({ ...FILLED, user: { name: 'ada', theme: 'dark' } });
}
