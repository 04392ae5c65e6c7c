import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { create, makeStore, recordOf } from './support.js';

describe('the README of CookieStore', () => {
  const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');

  it('starts with what the store can not do', () => {
    const [, first] = readme.split('\n\n');
    for (const limit of ["can't merge", "can't revoke across processes", 'replayed until it expires', '4096'])
      expect(first).to.include(limit);
  });

  it('says what fits into a cookie', () => {
    const store = makeStore();
    const length = (entries: Record<string, string>): number => create(store, recordOf(entries)).length;
    expect(readme).to.include('an empty session takes 154.');
    expect(length({})).to.equal(154);
    const data = { user: '"ada"', cart: '[1,2,3]', 日本: '1' };
    const bytes = Object.entries(data).reduce((sum, [key, value]) => sum + Buffer.byteLength(key + value), 0);
    expect(length(data)).to.be.within(154 + (bytes + 3 * 4) * (4 / 3) - 1, 154 + (bytes + 3 * 5) * (4 / 3) + 1);
  });
});
