import { expect } from 'chai';
import sinon from 'sinon';
import { RevocationList } from '../dist/revocation-list.js';
import { HOUR } from './support.js';

describe('RevocationList', () => {
  let clock: sinon.SinonFakeTimers;
  beforeEach(() => {
    clock = sinon.useFakeTimers({ now: 1_000_000_000, toFake: ['Date', 'performance'] });
  });
  afterEach(() => clock.restore());

  it('keeps each address until its instant, whatever follows', () => {
    const list = new RevocationList();
    const until = new Map<string, number>();
    for (let i = 0; i < 600; i++) {
      clock.tick(37);
      const due = Date.now() + ((i * 7919) % 5000); // neither in order nor even
      until.set(`s${i}`, due);
      list.add(`s${i}`, due);
      for (const [address, due] of until) {
        if (due < Date.now()) until.delete(address);
        else expect(list.has(address), address).to.equal(true);
      }
      expect(list.has(`s${i + 1}`)).to.equal(false);
    }
  });

  it('drops addresses after their instant, when others follow', () => {
    const list = new RevocationList();
    for (let i = 0; i < 100; i++) list.add(`s${i}`, Date.now() + 1000);
    clock.tick(999);
    for (let i = 0; i < 100; i++) list.add(`t${i}`, Date.now() + 1000);
    expect(list.has('s0')).to.equal(true);
    clock.tick(1001);
    for (const address of ['u', 'v', 'w']) list.add(address, Date.now() + 1000);
    const left = ['s', 't'].flatMap((letter) => Array.from({ length: 100 }, (_, i) => `${letter}${i}`));
    expect(left.filter((address) => list.has(address))).to.deep.equal([]);
    expect(['u', 'v', 'w'].filter((address) => list.has(address))).to.deep.equal(['u', 'v', 'w']);
  });

  it('keeps an address at most twice as long as it must, while others follow', () => {
    const list = new RevocationList();
    const LIFETIME = 1000;
    for (let i = 0; i < 3000; i++) {
      list.add(`s${i}`, Date.now() + LIFETIME);
      clock.tick(10);
      const overdue = i - (2 * LIFETIME) / 10 - 1;
      if (overdue >= 0) expect(list.has(`s${overdue}`)).to.equal(false);
    }
  });

  for (const hours of [3, -3]) {
    it(`drops no address that is due by a clock that was set by ${hours} hours and back`, () => {
      const list = new RevocationList();
      const start = Date.now();
      list.add('before', start + HOUR);
      clock.setSystemTime(start + hours * HOUR);
      for (const address of ['a', 'b', 'c']) list.add(address, Date.now() + HOUR);
      clock.setSystemTime(start);
      for (const address of ['d', 'e', 'f']) list.add(address, Date.now() + HOUR);
      for (const address of ['before', 'a', 'b', 'c', 'd', 'e', 'f']) expect(list.has(address), address).to.equal(true);
    });
  }

  it('keeps an address that is due by the time that passed, while the clock is behind', () => {
    const list = new RevocationList();
    list.add('before', Date.now() + HOUR);
    clock.tick(2 * HOUR);
    clock.setSystemTime(Date.now() - 3 * HOUR);
    for (const address of ['a', 'b', 'c']) list.add(address, Date.now() + HOUR);
    expect(list.has('before')).to.equal(true);
  });

  it('returns a mark until its instant, and keeps the address', () => {
    const list = new RevocationList();
    const mark = { by: 'successor', until: Date.now() + 1000 };
    list.add('replaced', Date.now() + HOUR, mark);
    list.add('ended', Date.now() + HOUR);
    clock.tick(999);
    expect(list.mark('replaced')).to.deep.equal(mark);
    expect(list.mark('ended')).to.equal(undefined);
    clock.tick(1);
    expect(list.mark('replaced')).to.equal(undefined);
    expect(list.has('replaced')).to.equal(true);
  });

  it('keeps the address of a replaced session as long as the mark', () => {
    const list = new RevocationList();
    list.add('replaced', Date.now() + 1000, { by: '', until: Date.now() + 60_000 });
    clock.tick(59_999);
    for (const address of ['a', 'b', 'c']) list.add(address, Date.now() + 1);
    expect(list.has('replaced')).to.equal(true);
    expect(list.mark('replaced')).not.to.equal(undefined);
  });
});
