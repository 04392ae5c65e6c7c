import { expect } from 'chai';
import fc from 'fast-check';
import { bytesOf, hostile, mutations, ours, RUNS, valid, victim } from './mutants.js';
import { call, changesOf, loaded, makeStore } from './support.js';

describe('a forged token', () => {
  function check(token: string): void {
    expect(loaded(victim, token)).to.equal(undefined);
    expect(victim.update(token, changesOf({ b: '2' }), call)).to.deep.equal({ outcome: 'gone' });
    expect(victim.destroy(token, call)).to.deep.equal({ outcome: 'none' });
  }

  for (const [name, tokens] of Object.entries(mutations)) {
    it(`is absent, without an error: ${name}`, () => {
      const changed = tokens.filter((token) => !valid.has(token));
      fc.assert(fc.property(changed, check), { numRuns: Math.ceil(RUNS / Object.keys(mutations).length) });
    });
  }

  it('is absent, without an error: every value of the corpus', () => {
    for (const value of hostile) check(value);
  });

  it('is absent after the change of any single bit, and after any cut', () => {
    const token = ours[0]!;
    const bytes = bytesOf(token);
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      bytes[bit >> 3]! ^= 1 << (bit & 7);
      check(bytes.toString('base64url'));
      bytes[bit >> 3]! ^= 1 << (bit & 7);
    }
    for (let length = 0; length < token.length; length++) check(token.slice(0, length));
  });

  it('leaves the valid tokens valid', () => {
    for (const token of ours) {
      expect(loaded(victim, token)).not.to.equal(undefined);
      expect(loaded(makeStore(), token)).not.to.equal(undefined);
    }
  });
});
