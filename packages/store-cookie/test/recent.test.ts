import { expect } from 'chai';
import { type Opened, Recent } from '../dist/recent.js';

describe('recent tokens', () => {
  const tokenOf = (i: number): string => `${i}`.padStart(512, '-'); // 1024 of them fill a half
  const opened: Opened = {
    name: 'n',
    owner: 'owner',
    record: { entries: new Map(), createdAt: 0, expiresAt: 1 },
  };

  it('are known with what they hold, under their name only', () => {
    const recent = new Recent();
    recent.set('token', opened);
    expect(recent.get('n', 'token')).to.equal(opened);
    expect(recent.get('two', 'token')).to.equal(undefined);
    expect(recent.get('n', 'toke')).to.equal(undefined);
    expect(recent.get('__proto__', 'token')).to.equal(undefined);
    expect(recent.get('n', '__proto__')).to.equal(undefined);
  });

  it('are forgotten when newer ones fill the space, unless they are used', () => {
    const recent = new Recent();
    recent.set('used', opened);
    recent.set('unused', opened);
    for (let i = 0; i < 5000; i++) {
      recent.set(tokenOf(i), opened);
      if (i % 100 === 0) expect(recent.get('n', 'used')).to.equal(opened);
    }
    expect(recent.get('n', 'used')).to.equal(opened);
    expect(recent.get('n', 'unused')).to.equal(undefined);
    const kept = Array.from({ length: 5000 }, (_, i) => i).filter(
      (i) => recent.get('n', tokenOf(i)) !== undefined,
    );
    expect(kept.length).to.be.within(1024, 2048);
    expect(kept).to.include(4999).and.not.include(2000);
  });

  it('take a bounded space also when only old ones are used', () => {
    const recent = new Recent();
    for (let i = 0; i < 2048; i++) recent.set(tokenOf(i), opened);
    for (let round = 0; round < 3; round++) for (let i = 0; i < 2048; i++) recent.get('n', tokenOf(i));
    for (let i = 5000; i < 7048; i++) recent.set(tokenOf(i), opened);
    expect(Array.from({ length: 2048 }, (_, i) => recent.get('n', tokenOf(i))).filter(Boolean)).to.deep.equal(
      [],
    );
  });
});
