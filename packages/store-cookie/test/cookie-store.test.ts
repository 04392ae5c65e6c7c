import crypto from 'node:crypto';
import { syncBuiltinESMExports } from 'node:module';
import type { CookieStore } from '@koa-wsession/store-cookie';
import { expect } from 'chai';
import sinon from 'sinon';
import { call, changesOf, create, HOUR, loaded, makeStore, recordOf, update } from './support.js';

describe('CookieStore', () => {
  let clock: sinon.SinonFakeTimers;
  beforeEach(() => {
    clock = sinon.useFakeTimers({ now: Date.now(), toFake: ['Date'] });
  });
  afterEach(() => clock.restore());

  describe('revocation', () => {
    /** Time passes, and others log out, so that what is due is forgotten. */
    function pass(store: CookieStore, hours: number): void {
      for (let minute = 0; minute < hours * 60; minute += 10) {
        clock.tick(HOUR / 6);
        for (let i = 0; i < 3; i++) expect(store.destroy(create(store), call)).not.to.equal(undefined);
      }
    }

    it('holds for every token of the session, before and after', () => {
      const store = makeStore();
      const first = create(store);
      const second = update(store, first, changesOf({ b: '2' }));
      const third = update(store, second, changesOf({ c: '3' }));
      expect(store.destroy(second, call)?.entries.size).to.equal(2);
      for (const token of [first, second, third]) {
        expect(loaded(store, token, call)).to.equal(undefined);
        expect(store.update(token, changesOf({ d: '4' }), call)).to.deep.equal({ outcome: 'gone' });
        expect(store.destroy(token, call)).to.equal(undefined);
      }
    });

    it('leaves other sessions alone', () => {
      const store = makeStore();
      const [one, other] = [create(store), create(store)];
      store.destroy(one, call);
      expect(loaded(store, other, call)).not.to.equal(undefined);
    });

    it('outlives a token with a longer life that a parallel request got', () => {
      const store = makeStore();
      const token = create(store);
      const remembered = update(store, token, changesOf({ '\0expire': '36000' }, 10 * HOUR));
      store.destroy(token, call);
      for (let hour = 1; hour < 10; hour++) {
        pass(store, 1);
        expect(loaded(store, remembered, call), `after ${hour} hours`).to.equal(undefined);
      }
      // Elsewhere, where nobody knows of the logout, it is still valid.
      expect(loaded(makeStore(), remembered, call)).not.to.equal(undefined);
    });

    it('outlives a longer token of another process that was seen here', () => {
      const [here, elsewhere] = [makeStore(), makeStore()];
      const token = create(elsewhere);
      const remembered = update(elsewhere, token, changesOf({}, 5 * HOUR));
      expect(loaded(here, remembered, call)).not.to.equal(undefined);
      here.destroy(token, call);
      pass(here, 4);
      expect(loaded(here, remembered, call)).to.equal(undefined);
    });

    it('outlives a token of the ordinary life that was sealed before a restart', () => {
      const [before, after] = [makeStore(), makeStore()];
      const token = create(before);
      clock.tick(HOUR / 2);
      const later = update(before, token, changesOf({}));
      after.destroy(token, call);
      for (let minute = 5; minute < 60; minute += 5) {
        clock.tick(HOUR / 12);
        // Others whose tokens end early, so that nothing else keeps the revoked ones.
        for (let i = 0; i < 3; i++) after.destroy(create(before, recordOf({}, 1000)), call);
        expect(loaded(after, later, call), `after ${minute} minutes`).to.equal(undefined);
      }
    });

    it('does not reach another process, nor survive a restart: the README says so', () => {
      const [here, elsewhere] = [makeStore(), makeStore()];
      const token = create(here);
      here.destroy(token, call);
      expect(loaded(elsewhere, token, call)).not.to.equal(undefined);
    });
  });

  describe('expiry', () => {
    it('is inside the seal, and checked each time', () => {
      const store = makeStore();
      const token = create(store, recordOf({ a: '1' }, 1000));
      clock.tick(999);
      expect(loaded(store, token, call)).not.to.equal(undefined);
      clock.tick(1);
      for (const each of [store, makeStore()]) {
        expect(loaded(each, token, call)).to.equal(undefined);
        expect(each.update(token, changesOf({}), call).outcome).to.equal('gone');
        expect(each.destroy(token, call)).to.equal(undefined);
      }
    });

    it('that is no number counts as past', () => {
      const store = makeStore();
      for (const expiresAt of [Number.NaN, Number.POSITIVE_INFINITY, -1, 0])
        expect(
          loaded(store, create(makeStore(), { ...recordOf(), expiresAt }), call),
          String(expiresAt),
        ).to.equal(undefined);
    });
  });

  describe('update', () => {
    it('keeps the age and the address', () => {
      const store = makeStore();
      const record = recordOf({ a: '1' });
      const token = create(store, record);
      clock.tick(1000);
      const updated = update(store, token, changesOf({ b: '2' }));
      expect(loaded(store, updated, call)).to.deep.equal({
        entries: new Map([
          ['a', '1'],
          ['b', '2'],
        ]),
        createdAt: record.createdAt,
        expiresAt: Date.now() + HOUR,
      });
    });

    it('leaves the older token valid, as the README says', () => {
      const store = makeStore();
      const older = create(store, recordOf({ a: '1' }));
      update(store, older, changesOf({ a: '2' }));
      expect(loaded(store, older, call)?.entries.get('a')).to.equal('1');
    });

    it('answers at once, as do all the others', () => {
      const store = makeStore();
      const token = create(store);
      for (const answer of [
        loaded(store, token, call),
        store.update(token, changesOf({ b: '2' }), call),
        store.destroy(token, call),
      ])
        expect(answer).not.to.be.an.instanceOf(Promise);
    });
  });

  describe('what it remembers', () => {
    let decipher: sinon.SinonSpy;
    beforeEach(() => {
      decipher = sinon.spy(crypto, 'createDecipheriv');
      syncBuiltinESMExports();
    });
    afterEach(() => {
      decipher.restore();
      syncBuiltinESMExports();
    });

    it('spares decrypting a token twice', () => {
      const token = create(makeStore());
      const store = makeStore();
      for (let i = 0; i < 3; i++) expect(loaded(store, token, call)?.entries.get('a')).to.equal('1');
      expect(decipher.callCount).to.equal(1);
    });

    it('spares decrypting what it sealed itself', () => {
      const store = makeStore();
      let token = create(store);
      for (let i = 0; i < 3; i++) token = update(store, token, changesOf({ a: String(i) }));
      expect(loaded(store, token, call)?.entries.get('a')).to.equal('2');
      expect(decipher.callCount).to.equal(0);
    });
  });
});
