import { randomBytes } from 'node:crypto';
import { expect } from 'chai';
import sinon from 'sinon';
import { canMeasureHeap, usedHeap } from 'testkit';
import { RevocationList } from '../dist/revocation-list.js';
import { call, changesOf, create, loaded, makeStore, newAddress, recordOf, update } from './support.js';

(canMeasureHeap ? describe : describe.skip)('The memory of CookieStore', function () {
  this.timeout(300_000);

  it('stays flat within 2 MB over 200,000 sessions', () => {
    const store = makeStore();
    const live = (sessions: number) => {
      for (let i = 0; i < sessions; i++) {
        const token = create(store, recordOf({ user: `"${i}"`, cart: '[1,2,3]' }));
        update(store, token, changesOf({ counter: String(i) }));
      }
    };
    live(20_000); // the cache is full by now
    const before = usedHeap();
    live(200_000);
    expect(usedHeap() - before).to.be.below(2e6);
    expect(loaded(store, create(store), call)).not.to.equal(undefined);
  });

  for (const length of [0, 200, 2800]) {
    it(`stays under 8 MB for cached tokens of sessions of ${length} characters, cut out of larger headers`, () => {
      const tokens = function* (count: number): Iterable<string> {
        const sealing = makeStore();
        for (let i = 0; i < count; i++) yield create(sealing, recordOf({ key: `日${'t'.repeat(length)}` }));
      };
      for (const _ of tokens(10_000)); // fills the cache of another store
      const before = usedHeap();
      const store = makeStore();
      let largest = 0;
      for (let round = 0; round < 20; round++) {
        for (const token of tokens(2 ** 19 / (200 + length) / 8))
          expect(loaded(store, `${'x'.repeat(8000)}${token}`.slice(8000))).not.to.equal(undefined);
        largest = Math.max(largest, usedHeap() - before);
      }
      expect(largest).to.be.within(1e6, 8e6);
      expect(loaded(store, 'x')).to.equal(undefined);
    });
  }

  /** Bytes for each of many sessions that ended, and what is left of all when they are due. */
  function measure(sessions: number, replaced: boolean): { each: number; left: number } {
    const clock = sinon.useFakeTimers({ now: Date.now(), toFake: ['Date', 'performance', 'setTimeout'] });
    try {
      const before = usedHeap();
      const list = new RevocationList();
      const add = () => {
        const until = Date.now() + 1000;
        const by = randomBytes(375).toString('base64url'); // 500 characters
        list.end(newAddress(), until, replaced ? { replaced: { by, until } } : {});
      };
      for (let i = 0; i < sessions; i++) add();
      const each = (usedHeap() - before) / sessions;
      clock.tick(1000);
      for (let i = 0; i < 3; i++) list.end(newAddress(), Date.now() + 1000);
      const left = usedHeap() - before;
      expect(list.standingOf('x')).to.equal('alive');
      return { each, left };
    } finally {
      clock.restore();
    }
  }

  it('of a destroyed session is about 100 bytes, until its tokens have expired', () => {
    const { each, left } = measure(200_000, false);
    expect(each).to.be.within(60, 130);
    expect(left).to.be.below(1e6);
  });

  it("of a replaced session is about 450 bytes and its successor's token, until the mark has expired", () => {
    const { each, left } = measure(20_000, true);
    expect(each).to.be.within(850, 1200);
    expect(left).to.be.below(1e6);
  });
});
