import { expect } from 'chai';
import sinon from 'sinon';
import { RevocationList } from '../dist/revocation-list.js';
import { HOUR } from './support.js';

describe('RevocationList', () => {
  const isEnded = (list: RevocationList, address: string): boolean => list.standingOf(address) !== 'alive';

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
      list.end(`s${i}`, due);
      for (const [address, due] of until) {
        if (due < Date.now()) until.delete(address);
        else expect(isEnded(list, address), address).to.equal(true);
      }
      expect(isEnded(list, `s${i + 1}`)).to.equal(false);
    }
  });

  it('drops addresses after their instant, when others follow', () => {
    const list = new RevocationList();
    for (let i = 0; i < 100; i++) list.end(`s${i}`, Date.now() + 1000);
    clock.tick(999);
    for (let i = 0; i < 100; i++) list.end(`t${i}`, Date.now() + 1000);
    expect(isEnded(list, 's0')).to.equal(true);
    clock.tick(1001);
    for (const address of ['u', 'v', 'w']) list.end(address, Date.now() + 1000);
    const left = ['s', 't'].flatMap((letter) => Array.from({ length: 100 }, (_, i) => `${letter}${i}`));
    expect(left.filter((address) => isEnded(list, address))).to.deep.equal([]);
    expect(['u', 'v', 'w'].filter((address) => isEnded(list, address))).to.deep.equal(['u', 'v', 'w']);
  });

  it('keeps an address at most twice as long as it must, while others follow', () => {
    const list = new RevocationList();
    const LIFETIME = 1000;
    for (let i = 0; i < 3000; i++) {
      list.end(`s${i}`, Date.now() + LIFETIME);
      clock.tick(10);
      const overdue = i - (2 * LIFETIME) / 10 - 1;
      if (overdue >= 0) expect(isEnded(list, `s${overdue}`)).to.equal(false);
    }
  });

  for (const hours of [3, -3]) {
    it(`drops no address that is due by a clock that was set by ${hours} hours and back`, () => {
      const list = new RevocationList();
      const start = Date.now();
      list.end('before', start + HOUR);
      clock.setSystemTime(start + hours * HOUR);
      for (const address of ['a', 'b', 'c']) list.end(address, Date.now() + HOUR);
      clock.setSystemTime(start);
      for (const address of ['d', 'e', 'f']) list.end(address, Date.now() + HOUR);
      for (const address of ['before', 'a', 'b', 'c', 'd', 'e', 'f'])
        expect(isEnded(list, address), address).to.equal(true);
    });
  }

  it('keeps an address that is due by the time that passed, while the clock is behind', () => {
    const list = new RevocationList();
    list.end('before', Date.now() + HOUR);
    clock.tick(2 * HOUR);
    clock.setSystemTime(Date.now() - 3 * HOUR);
    for (const address of ['a', 'b', 'c']) list.end(address, Date.now() + HOUR);
    expect(isEnded(list, 'before')).to.equal(true);
  });

  it('returns a mark until its instant, and keeps the address', () => {
    const list = new RevocationList();
    const mark = { by: 'successor', until: Date.now() + 1000 };
    list.end('replaced', Date.now() + HOUR, { replaced: mark });
    list.end('ended', Date.now() + HOUR);
    clock.tick(999);
    expect(list.standingOf('replaced')).to.deep.equal(mark);
    expect(list.standingOf('ended')).to.equal(undefined);
    clock.tick(1);
    expect(list.standingOf('replaced')).to.equal(undefined);
    expect(isEnded(list, 'replaced')).to.equal(true);
  });

  it('keeps the address of a replaced session as long as the mark', () => {
    const list = new RevocationList();
    list.end('replaced', Date.now() + 1000, { replaced: { by: '', until: Date.now() + 60_000 } });
    clock.tick(59_999);
    for (const address of ['a', 'b', 'c']) list.end(address, Date.now() + 1);
    expect(isEnded(list, 'replaced')).to.equal(true);
    expect(list.standingOf('replaced')).not.to.equal(undefined);
  });
});
