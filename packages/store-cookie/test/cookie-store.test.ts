import crypto from 'node:crypto';
import { syncBuiltinESMExports } from 'node:module';
import { CookieStore } from '@koa-wsession/store-cookie';
import { expect } from 'chai';
import sinon from 'sinon';
import {
  call,
  changesOf,
  create,
  HOUR,
  loaded,
  makeStore,
  newAddress,
  now,
  recordOf,
  SECRET,
  update,
} from './support.js';

describe('CookieStore', () => {
  let clock: sinon.SinonFakeTimers;
  beforeEach(() => {
    clock = sinon.useFakeTimers({ now: Date.now(), toFake: ['Date', 'performance'] });
  });
  afterEach(() => clock.restore());

  describe('revocation', () => {
    /** Lets time pass while others log out, so that the store drops the addresses that are due. */
    function pass(store: CookieStore, hours: number): void {
      for (let minute = 0; minute < hours * 60; minute += 10) {
        clock.tick(HOUR / 6);
        for (let i = 0; i < 3; i++) expect(now(store.destroy(create(store), call)).outcome).to.equal('destroyed');
      }
    }

    it('holds for every token of the session, before and after', () => {
      const store = makeStore();
      const first = create(store);
      const second = update(store, first, changesOf({ b: '2' }));
      const third = update(store, second, changesOf({ c: '3' }));
      const record = loaded(store, second);
      expect(store.destroy(second, call)).to.deep.equal({ outcome: 'destroyed', record });
      for (const token of [first, second, third]) {
        expect(loaded(store, token)).to.equal(undefined);
        expect(store.update(token, changesOf({ d: '4' }), call)).to.deep.equal({ outcome: 'gone' });
        expect(store.destroy(token, call)).to.deep.equal({ outcome: 'none' });
      }
    });

    it('leaves other sessions alone', () => {
      const store = makeStore();
      const [one, other] = [create(store), create(store)];
      store.destroy(one, call);
      expect(loaded(store, other)).not.to.equal(undefined);
    });

    it('outlives a token with a longer life that a parallel request got', () => {
      const store = makeStore();
      const token = create(store);
      const remembered = update(store, token, changesOf({}, 10 * HOUR));
      store.destroy(token, call);
      for (let hour = 1; hour < 10; hour++) {
        pass(store, 1);
        expect(loaded(store, remembered), `after ${hour} hours`).to.equal(undefined);
      }
      // In another process, which doesn't know of the logout, it is still valid.
      expect(loaded(makeStore(), remembered)).not.to.equal(undefined);
    });

    it('outlives a longer token of another process that was seen here', () => {
      const [here, elsewhere] = [makeStore(), makeStore()];
      const token = create(elsewhere);
      const remembered = update(elsewhere, token, changesOf({}, 5 * HOUR));
      expect(loaded(here, remembered)).not.to.equal(undefined);
      here.destroy(token, call);
      pass(here, 4);
      expect(loaded(here, remembered)).to.equal(undefined);
    });

    it('outlives a token of the ordinary life that was sealed before a restart', () => {
      const [before, after] = [makeStore(), makeStore()];
      const token = create(before);
      clock.tick(HOUR / 2);
      const later = update(before, token, changesOf({}));
      after.destroy(token, call);
      for (let minute = 5; minute < 60; minute += 5) {
        clock.tick(HOUR / 12);
        // Sessions that expire early, so that they don't keep the first address.
        for (let i = 0; i < 3; i++) after.destroy(create(before, recordOf({}, 1000)), call);
        expect(loaded(after, later), `after ${minute} minutes`).to.equal(undefined);
      }
    });

    it('outlives a token of a longer life that another process sealed just before', () => {
      const [here, elsewhere] = [makeStore(), makeStore()];
      const token = create(elsewhere, recordOf({}, 5 * HOUR));
      clock.tick(HOUR);
      const later = update(elsewhere, token, changesOf({}, 5 * HOUR));
      here.destroy(token, call);
      clock.tick(4.9 * HOUR);
      for (let i = 0; i < 3; i++) here.destroy(create(elsewhere, recordOf({}, 1000)), call);
      expect(loaded(elsewhere, later)).not.to.equal(undefined);
      expect(loaded(here, later)).to.equal(undefined);
    });

    it('outlives a clock that goes forward, while others log out, and back', () => {
      const store = makeStore();
      const start = Date.now();
      const token = create(store);
      store.destroy(token, call);
      clock.setSystemTime(start + 3 * HOUR);
      for (let i = 0; i < 3; i++) store.destroy(create(store), call);
      clock.setSystemTime(start);
      for (let i = 0; i < 3; i++) store.destroy(create(store), call);
      expect(loaded(store, token)).to.equal(undefined);
    });

    it('holds for tokens that are sealed for the address afterwards', () => {
      const store = makeStore();
      const address = newAddress();
      const { token } = store.create(address, recordOf(), call) as { token: string };
      store.destroy(token, call);
      const later = store.create(address, recordOf(), call) as { token: string };
      expect(loaded(store, later.token)).to.equal(undefined);
    });

    it('does not reach another process, nor survive a restart: the README says so', () => {
      const [here, elsewhere] = [makeStore(), makeStore()];
      const token = create(here);
      here.destroy(token, call);
      expect(loaded(elsewhere, token)).not.to.equal(undefined);
    });
  });

  describe('the mark of a replaced session', () => {
    const MINUTE = 60_000;

    it('is returned for every token of the session, until its instant; then the session is absent', () => {
      const store = makeStore();
      const first = create(store);
      const second = update(store, first, changesOf({ b: '2' }));
      const replaced = { by: create(store), until: Date.now() + MINUTE };
      expect(now(store.destroy(second, { ...call, replaced })).outcome).to.equal('destroyed');
      clock.tick(MINUTE - 1);
      for (const token of [first, second]) {
        expect(store.load(token, call)).to.deep.equal(replaced);
        expect(store.update(token, changesOf({}), call)).to.deep.equal({ outcome: 'gone' });
        expect(store.destroy(token, call)).to.deep.equal({ outcome: 'replaced', by: replaced.by });
      }
      expect(loaded(store, replaced.by)).not.to.equal(undefined);
      clock.tick(1);
      for (const token of [first, second]) {
        expect(store.load(token, call)).to.equal(undefined);
        expect(store.update(token, changesOf({}), call)).to.deep.equal({ outcome: 'gone' });
        expect(store.destroy(token, call)).to.deep.equal({ outcome: 'none' });
      }
    });

    it('outlives a token that expires before', () => {
      const store = new CookieStore(SECRET, { expire: 1 });
      const token = create(store, recordOf({}, 1000));
      const replaced = { by: '', until: Date.now() + MINUTE };
      store.destroy(token, { ...call, replaced });
      clock.tick(MINUTE - 1);
      for (let i = 0; i < 3; i++) store.destroy(create(store, recordOf({}, 1000)), call);
      expect(store.load(token, call)).to.deep.equal(replaced);
    });

    it('is not returned for a token under another name, nor in another process', () => {
      const [here, elsewhere] = [makeStore(), makeStore()];
      const token = create(here);
      here.destroy(token, { ...call, replaced: { by: 'x', until: Date.now() + MINUTE } });
      expect(here.load(token, { ...call, name: 'other' })).to.equal('seal');
      expect(loaded(elsewhere, token)).not.to.equal(undefined);
    });
  });

  describe('expiry', () => {
    it('is inside the seal, and checked at each call', () => {
      const store = makeStore();
      const token = create(store, recordOf({ a: '1' }, 1000));
      clock.tick(999);
      expect(loaded(store, token)).not.to.equal(undefined);
      clock.tick(1);
      for (const each of [store, makeStore()]) {
        expect(loaded(each, token)).to.equal(undefined);
        expect(now(each.update(token, changesOf({}), call)).outcome).to.equal('gone');
        expect(each.destroy(token, call)).to.deep.equal({ outcome: 'none' });
      }
    });

    it('that is not a number counts as past', () => {
      for (const expiresAt of [Number.NaN, Number.NEGATIVE_INFINITY, -1, 0]) {
        const store = makeStore();
        const token = create(store, { ...recordOf(), expiresAt });
        for (const each of [store, makeStore()]) expect(loaded(each, token), String(expiresAt)).to.equal(undefined);
      }
    });
  });

  describe('update', () => {
    it('keeps the age and the address', () => {
      const store = makeStore();
      const record = recordOf({ a: '1' });
      const token = create(store, record);
      clock.tick(1000);
      const updated = update(store, token, changesOf({ b: '2' }));
      expect(loaded(store, updated)).to.deep.equal({
        entries: new Map([
          ['a', '1'],
          ['b', '2'],
        ]),
        createdAt: record.createdAt,
        updatedAt: Date.now(),
        expiresAt: Date.now() + HOUR,
        revision: 2,
      });
    });

    it('without a new expiry keeps the one in the token', () => {
      const store = makeStore();
      const record = recordOf({ a: '1' });
      clock.tick(1000);
      const changes = { ...changesOf({ b: '2' }), expiresAt: undefined };
      const updated = loaded(store, update(store, create(store, record), changes));
      expect(updated?.expiresAt).to.equal(record.expiresAt);
      expect(updated?.updatedAt).to.equal(Date.now());
    });

    it('leaves the older token valid, as the README says', () => {
      const store = makeStore();
      const older = create(store, recordOf({ a: '1' }));
      update(store, older, changesOf({ a: '2' }));
      expect(loaded(store, older)?.entries.get('a')).to.equal('1');
    });

    it('returns at once, as do all the other calls', () => {
      const store = makeStore();
      const token = create(store);
      for (const answer of [
        loaded(store, token),
        store.update(token, changesOf({ b: '2' }), call),
        store.destroy(token, call),
      ])
        expect(answer).not.to.be.an.instanceOf(Promise);
    });
  });

  describe('the cache', () => {
    let decipher: sinon.SinonSpy;
    beforeEach(() => {
      decipher = sinon.spy(crypto, 'createDecipheriv');
      syncBuiltinESMExports();
    });
    afterEach(() => {
      decipher.restore();
      syncBuiltinESMExports();
    });

    it('saves decrypting a token twice', () => {
      const token = create(makeStore());
      const store = makeStore();
      for (let i = 0; i < 3; i++) expect(loaded(store, token)?.entries.get('a')).to.equal('1');
      expect(decipher.callCount).to.equal(1);
    });

    it('saves decrypting what the store sealed itself', () => {
      const store = makeStore();
      let token = create(store);
      for (let i = 0; i < 3; i++) token = update(store, token, changesOf({ a: String(i) }));
      expect(loaded(store, token)?.entries.get('a')).to.equal('2');
      expect(decipher.callCount).to.equal(0);
    });

    it('forgets a token that update() replaced: it is decrypted again, if a parallel request still sends it', () => {
      const store = makeStore();
      const older = create(store);
      const newer = update(store, older, changesOf({ a: '2' }));
      expect(loaded(store, newer)?.entries.get('a')).to.equal('2');
      expect(decipher.callCount).to.equal(0);
      expect(loaded(store, older)?.entries.get('a')).to.equal('1');
      expect(decipher.callCount).to.equal(1);
    });
  });
});
