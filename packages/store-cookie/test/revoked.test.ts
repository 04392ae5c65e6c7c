import { expect } from 'chai';
import sinon from 'sinon';
import { Revoked } from '../dist/revoked.js';

describe('revoked sessions', () => {
  let clock: sinon.SinonFakeTimers;
  beforeEach(() => {
    clock = sinon.useFakeTimers({ now: 1_000_000, toFake: ['Date'] });
  });
  afterEach(() => clock.restore());

  it('are known until they are due, whatever comes after them', () => {
    const revoked = new Revoked();
    const until = new Map<string, number>();
    for (let i = 0; i < 600; i++) {
      clock.tick(37);
      const due = Date.now() + ((i * 7919) % 5000); // neither in order nor even
      until.set(`s${i}`, due);
      revoked.add(`s${i}`, due);
      for (const [address, due] of until) {
        if (due < Date.now()) until.delete(address);
        else expect(revoked.has(address), address).to.equal(true);
      }
      expect(revoked.has(`s${i + 1}`)).to.equal(false);
    }
  });

  it('are forgotten afterwards, when others come', () => {
    const revoked = new Revoked();
    for (let i = 0; i < 100; i++) revoked.add(`s${i}`, Date.now() + 1000);
    clock.tick(999);
    for (let i = 0; i < 100; i++) revoked.add(`t${i}`, Date.now() + 1000);
    expect(revoked.has('s0')).to.equal(true);
    clock.tick(1001);
    for (const address of ['u', 'v', 'w']) revoked.add(address, Date.now() + 1000);
    const left = ['s', 't'].flatMap((letter) => Array.from({ length: 100 }, (_, i) => `${letter}${i}`));
    expect(left.filter((address) => revoked.has(address))).to.deep.equal([]);
    expect(['u', 'v', 'w'].filter((address) => revoked.has(address))).to.deep.equal(['u', 'v', 'w']);
  });

  it('stay at most twice as long as they have to while others follow', () => {
    const revoked = new Revoked();
    const LIFETIME = 1000;
    for (let i = 0; i < 3000; i++) {
      revoked.add(`s${i}`, Date.now() + LIFETIME);
      clock.tick(10);
      const overdue = i - (2 * LIFETIME) / 10 - 1;
      if (overdue >= 0) expect(revoked.has(`s${overdue}`)).to.equal(false);
    }
  });
});
