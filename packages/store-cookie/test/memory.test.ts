import { expect } from 'chai';
import sinon from 'sinon';
import { canMeasureHeap, usedHeap } from 'testkit';
import { Recent } from '../dist/recent.js';
import { Revoked } from '../dist/revoked.js';
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
    live(20_000); // what it remembers lately is full by now
    const before = usedHeap();
    live(200_000);
    expect(usedHeap() - before).to.be.below(2e6);
    expect(loaded(store, create(store), call)).not.to.equal(undefined);
  });

  for (const length of [100, 450, 4000]) {
    it(`of recent tokens of ${length} characters is under 8 MB, whatever they were cut out of`, () => {
      const before = usedHeap();
      const recent = new Recent();
      let largest = 0;
      for (let round = 0; round < 20; round++) {
        for (let i = 0; i < 2 ** 19 / length / 8; i++) {
          const header = `${'x'.repeat(8000)}${newAddress()}${'y'.repeat(length)}`;
          const text = Buffer.from(`日${'t'.repeat(length * 0.7)}`).toString();
          const record = { entries: new Map([['key', text]]), createdAt: Date.now(), expiresAt: Date.now() };
          recent.set(header.slice(8000, 8000 + length), { name: 'wsession', owner: newAddress(), record });
        }
        largest = Math.max(largest, usedHeap() - before);
      }
      expect(largest).to.be.within(1e6, 8e6);
      expect(recent.get('wsession', 'x')).to.equal(undefined);
    });
  }

  it('of a session that ended is about 100 bytes, until it is due', () => {
    const clock = sinon.useFakeTimers({ now: Date.now(), toFake: ['Date'] });
    try {
      const before = usedHeap();
      const revoked = new Revoked();
      for (let i = 0; i < 200_000; i++) revoked.add(newAddress(), Date.now() + 1000);
      expect((usedHeap() - before) / 200_000).to.be.within(60, 130);
      clock.tick(1000);
      for (let i = 0; i < 3; i++) revoked.add(newAddress(), Date.now() + 1000);
      expect(usedHeap() - before).to.be.below(1e6);
      expect(revoked.has('x')).to.equal(false);
    } finally {
      clock.restore();
    }
  });
});
