import { expect } from 'chai';
import { TokenCache, type Unsealed } from '../dist/token-cache.js';
import { recordOf } from './support.js';

describe('TokenCache', () => {
  const tokenOf = (i: number): string => `${i}`.padStart(512, '-'); // 1024 of them fill a half
  const unsealed = (token: string): Unsealed => ({
    token,
    name: 'n',
    address: 'address',
    record: recordOf(),
  });

  it('returns what a token holds, under its name only', () => {
    const cache = new TokenCache();
    const token = unsealed('token');
    cache.add(token);
    expect(cache.get('n', 'token')).to.equal(token);
    expect(cache.get('two', 'token')).to.equal(undefined);
    expect(cache.get('n', 'toke')).to.equal(undefined);
    expect(cache.get('__proto__', 'token')).to.equal(undefined);
    expect(cache.get('n', '__proto__')).to.equal(undefined);
    cache.add(unsealed(tokenOf(7)));
    expect(cache.get('n', `x${tokenOf(7).slice(1)}`), 'another with the same end').to.equal(undefined);
  });

  it('keeps recent tokens, and drops older ones when these fill the space', () => {
    const cache = new TokenCache();
    for (let i = 0; i < 5000; i++) cache.add(unsealed(tokenOf(i)));
    const kept = Array.from({ length: 5000 }, (_, i) => i).filter((i) => cache.get('n', tokenOf(i)));
    expect(kept.length).to.be.within(1024, 2048);
    expect(kept).to.deep.equal(Array.from(kept, (_, i) => 5000 - kept.length + i));
  });

  it('keeps no replaced token, and has the space for others', () => {
    const cache = new TokenCache();
    cache.add(unsealed('other'));
    for (let i = 0; i < 5000; i++) {
      cache.add(unsealed(tokenOf(i)));
      if (i > 0) cache.delete(tokenOf(i - 1));
    }
    expect(cache.get('n', tokenOf(4998))).to.equal(undefined);
    for (const token of ['other', tokenOf(4999)]) expect(cache.get('n', token)).not.to.equal(undefined);
  });
});
