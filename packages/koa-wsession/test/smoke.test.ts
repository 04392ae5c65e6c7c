import { expect } from 'chai';
import * as entry from 'koa-wsession';

describe('koa-wsession', () => {
  it('can be imported by its public name', () => {
    expect(entry).to.be.a('module');
  });
});
