import assert from 'node:assert/strict';
import type { Store } from '../../store/store.js';
import type { Suite } from '../suite.js';
import {
  assertRecord,
  call,
  changesOf,
  create,
  HOSTILE,
  HOUR,
  isThere,
  load,
  loadEntries,
  recordOf,
  times,
  tokenOf,
  update,
} from './records.js';

export function describeUpdate(suite: Suite): void {
  describeChanges(suite);
  describeExpiry(suite);
  describeGone(suite);
  describeExpect(suite);
  if (suite.fixture.capabilities.merges) describeMerging(suite);
  else describeWithoutMerging(suite);
}

function describeChanges({ it, open }: Suite): void {
  it('sets and deletes the keys that it names, and no others', async () => {
    const store = await open();
    const key = await create(store, recordOf({ keep: '1', change: '2', drop: '3' }));
    const changed = await update(store, key, {
      set: { change: '4', add: '5' },
      delete: ['drop', 'never there'],
    });
    assert.deepEqual(await loadEntries(store, changed), { keep: '1', change: '4', add: '5' });
  });

  it('increments the revision, and returns it', async () => {
    const store = await open();
    const record = recordOf({ a: '1' });
    let key = await create(store, record);
    for (const revision of [2, 3, 4]) {
      const answer = await store.update(key, changesOf({}), call());
      key = tokenOf(answer, key);
      assert.equal(answer.outcome === 'updated' && answer.revision, revision);
      assert.equal((await load(store, key)).revision, revision);
    }
  });

  it('sets updatedAt to the instant that it was given, and leaves createdAt', async () => {
    const store = await open();
    const record = recordOf({ a: '1' });
    const key = await update(store, await create(store, record), { updatedAt: record.updatedAt + 5 });
    assertRecord(await load(store, key), { ...record, updatedAt: record.updatedAt + 5, revision: 2 });
  });

  it('stores what it was given, whatever becomes of that afterwards', async () => {
    const store = await open();
    const changes = { ...changesOf({}), set: new Map([['a', '2']]), delete: ['b'] };
    const key = await create(store, recordOf({ a: '1', b: '1' }));
    const changed = tokenOf(await store.update(key, changes, call()), key);
    changes.set.set('a', '3');
    assert.deepEqual(await loadEntries(store, changed), { a: '2' });
  });
}

function describeExpiry({ it, clock, open }: Suite): void {
  it('sets the expiry, later and earlier', async () => {
    const store = await open();
    const start = clock.freeze();
    let key = await create(store, recordOf({ a: '1' }));
    key = await update(store, key, { expiresAt: start + 10 * HOUR });
    clock.advance(9 * HOUR);
    assert.equal((await load(store, key)).expiresAt, start + 10 * HOUR);
    key = await update(store, key, { expiresAt: start + 9.5 * HOUR });
    assert.equal((await load(store, key)).expiresAt, start + 9.5 * HOUR);
    clock.advance(HOUR / 2);
    assert.equal(await isThere(store, key), false);
  });

  it('keeps the expiry where expiresAt is undefined', async () => {
    const store = await open();
    const start = clock.freeze();
    let key = await create(store, recordOf({ a: '1' }));
    clock.advance(HOUR - 1);
    key = await update(store, key, { set: { a: '2' }, expiresAt: undefined });
    assert.equal((await load(store, key)).expiresAt, start + HOUR);
    clock.advance(1);
    assert.equal(await isThere(store, key), false);
  });
}

function describeGone({ it, clock, open }: Suite): void {
  const assertGone = async (store: Store, key: string): Promise<void> => {
    const changes = changesOf({ set: { b: '2' }, expiresAt: Date.now() + HOUR });
    assert.deepEqual(await store.update(key, changes, call()), { outcome: 'gone' });
    assert.equal(await isThere(store, key), false);
  };

  it('returns gone, and stores nothing, where no record is, whatever the key', async () => {
    const store = await open();
    for (const key of HOSTILE) await assertGone(store, key);
  });

  it('returns gone, and stores nothing, where the record was destroyed', async () => {
    const store = await open();
    const key = await create(store, recordOf({ a: '1' }));
    await store.destroy(key, call());
    await assertGone(store, key);
  });

  it('returns gone, and stores nothing, where the record is expired', async () => {
    const store = await open();
    const key = await create(store, recordOf({ a: '1' }));
    clock.advance(HOUR);
    await assertGone(store, key);
  });

  it('returns gone rather than conflict where there is no record', async () => {
    const store = await open();
    for (const value of ['1', undefined]) {
      const changes = changesOf({ set: { a: '2' }, expect: { a: value } });
      assert.deepEqual(await store.update(HOSTILE.at(-1) as string, changes, call()), { outcome: 'gone' });
    }
  });
}

function describeExpect({ it, open }: Suite): void {
  it('with expect, changes the record only if the key holds exactly the expected value', async () => {
    const store = await open();
    const record = recordOf({ n: '1', other: 'x' });
    const key = await create(store, record);
    const attempt = (value: string | undefined) =>
      store.update(key, changesOf({ set: { n: '9', other: 'y' }, expect: { n: value } }), call());
    for (const wrong of ['2', '01', '', undefined]) {
      assert.deepEqual(await attempt(wrong), { outcome: 'conflict', actual: new Map([['n', '1']]) });
    }
    assertRecord(await load(store, key), record);
    assert.deepEqual(await loadEntries(store, tokenOf(await attempt('1'), key)), { n: '9', other: 'y' });
  });

  it('with expect of several keys, changes all or nothing; actual holds each of them', async () => {
    const store = await open();
    const record = recordOf({ a: '1', b: '', c: '3' });
    const key = await create(store, record);
    const actual = new Map([
      ['a', '1'],
      ['b', ''],
      ['none', undefined],
    ]);
    for (const wrong of [{ a: '2' }, { b: undefined }, { none: '' }, { a: 'x', b: 'y', none: 'z' }]) {
      const expect = { a: '1', b: '', none: undefined, ...wrong };
      const answer = await store.update(key, changesOf({ set: { a: '9' }, delete: ['c'], expect }), call());
      assert.equal(answer.outcome, 'conflict', JSON.stringify(wrong));
      assert.deepEqual(answer.outcome === 'conflict' && new Map(answer.actual), actual);
    }
    assertRecord(await load(store, key), record);
    const changed = await update(store, key, {
      set: { a: '9', none: '8' },
      delete: ['c'],
      expect: { a: '1', b: '', none: undefined },
    });
    assert.deepEqual(await loadEntries(store, changed), { a: '9', b: '', none: '8' });
  });

  it('with expect undefined, changes the record only if it has no such key', async () => {
    const store = await open();
    const key = await create(store, recordOf({}));
    const attempt = { set: { n: '' }, expect: { n: undefined } };
    const changed = await update(store, key, attempt);
    assert.deepEqual(await store.update(changed, changesOf(attempt), call()), {
      outcome: 'conflict',
      actual: new Map([['n', '']]),
    });
  });
}

function describeMerging({ it, openTwo }: Suite): void {
  it('merges into what is there now: of 100 at once on different keys, each is stored and counted', async () => {
    const stores = await openTwo();
    const key = await create(stores[0], recordOf({}));
    const content = Object.fromEntries(times(100, (i) => [`k${i}`, String(i)]));
    const answers = await Promise.all(
      Object.entries(content).map(([name, value], i) =>
        stores[i % 2 ? 1 : 0].update(key, changesOf({ set: { [name]: value } }), call()),
      ),
    );
    const revisions = answers.map((answer) => (answer.outcome === 'updated' ? answer.revision : answer.outcome));
    assert.deepEqual(
      revisions.sort((a, b) => Number(a) - Number(b)),
      times(100, (i) => i + 2),
    );
    const { entries, revision } = await load(stores[1], key);
    assert.deepEqual(Object.fromEntries(entries), content);
    assert.equal(revision, 101);
  });

  it('with expect, loses none of 100 increments at once of a key and its twin', async () => {
    const stores = await openTwo();
    const key = await create(stores[0], recordOf({ n: '0', twin: '0' }));
    const increment = async (store: Store): Promise<void> => {
      let n = '0';
      for (;;) {
        const next = String(Number(n) + 1);
        const changes = changesOf({ set: { n: next, twin: next }, expect: { n, twin: n } });
        const answer = await store.update(key, changes, call());
        if (answer.outcome !== 'conflict') return assert.equal(answer.outcome, 'updated');
        n = answer.actual.get('n') as string;
        assert.equal(answer.actual.get('twin'), n, 'actual is of one moment');
      }
    };
    await Promise.all(times(100, (i) => increment(stores[i % 2 ? 1 : 0])));
    const { entries, revision } = await load(stores[1], key);
    assert.deepEqual(Object.fromEntries(entries), { n: '100', twin: '100' });
    assert.equal(revision, 101);
  });
}

function describeWithoutMerging({ it, open }: Suite): void {
  it("doesn't merge: of two changes to one token, each knows only itself", async () => {
    const store = await open();
    const key = await create(store, recordOf({}));
    const one = await load(store, await update(store, key, { set: { a: '1' } }));
    const other = await load(store, await update(store, key, { set: { b: '2' } }));
    assert.deepEqual([...one.entries], [['a', '1']]);
    assert.deepEqual([...other.entries], [['b', '2']]);
    assert.deepEqual([one.revision, other.revision], [2, 2]);
  });
}
