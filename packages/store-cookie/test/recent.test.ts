import { expect } from 'chai';
import { Recent } from '../dist/recent.js';

describe('recent tokens', () => {
  const tokenOf = (i: number): string => `${i}`.padStart(512, '-'); // 1024 of them fill a half

  it('are known with their texts, under their name only', () => {
    const recent = new Recent();
    recent.set('one', 'token', 'text');
    expect(recent.get('one', 'token')).to.equal('text');
    expect(recent.get('two', 'token')).to.equal(undefined);
    expect(recent.get('one', 'toke')).to.equal(undefined);
    expect(recent.get('__proto__', 'token')).to.equal(undefined);
    expect(recent.get('one', '__proto__')).to.equal(undefined);
  });

  it('are forgotten when newer ones fill the space, unless they are used', () => {
    const recent = new Recent();
    recent.set('n', 'used', 'text');
    recent.set('n', 'unused', 'text');
    for (let i = 0; i < 5000; i++) {
      recent.set('n', tokenOf(i), `${i}`);
      if (i % 100 === 0) expect(recent.get('n', 'used')).to.equal('text');
    }
    expect(recent.get('n', 'used')).to.equal('text');
    expect(recent.get('n', 'unused')).to.equal(undefined);
    const kept = Array.from({ length: 5000 }, (_, i) => i).filter(
      (i) => recent.get('n', tokenOf(i)) !== undefined,
    );
    expect(kept.length).to.be.within(1024, 2048);
    expect(kept).to.include(4999).and.not.include(2000);
  });

  it('take a bounded space also when only old ones are used', () => {
    const recent = new Recent();
    for (let i = 0; i < 2048; i++) recent.set('n', tokenOf(i), `${i}`);
    for (let round = 0; round < 3; round++) for (let i = 0; i < 2048; i++) recent.get('n', tokenOf(i));
    for (let i = 5000; i < 7048; i++) recent.set('n', tokenOf(i), `${i}`);
    expect(Array.from({ length: 2048 }, (_, i) => recent.get('n', tokenOf(i))).filter(Boolean)).to.deep.equal(
      [],
    );
  });
});
