import assert from 'node:assert/strict';
import type { Suite } from '../suite.js';
import { assertRecord, call, create, HOUR, load, loadEntries, newKey, recordOf, times } from './records.js';

export function describeCreate(suite: Suite): void {
  const { it, fixture, open } = suite;

  it('stores the record exactly, in all its instants and its revision', async () => {
    const store = await open();
    const now = Date.now();
    const record = recordOf(
      { a: '1', b: '"two"' },
      { createdAt: now - 5 * HOUR, updatedAt: now - HOUR, expiresAt: now + 3 * HOUR },
    );
    assertRecord(await load(store, await create(store, record)), record);
  });

  it('stores what it was given, whatever becomes of that afterwards', async () => {
    const store = await open();
    const entries = new Map([['a', '1']]);
    const key = await create(store, recordOf({}, { entries }));
    entries.set('a', '2');
    assert.deepEqual(await loadEntries(store, key), { a: '1' });
  });

  if (fixture.capabilities.seals) {
    it('seals two records of the same content into different tokens', async () => {
      const store = await open();
      assert.notEqual(await create(store, recordOf({ a: '1' })), await create(store, recordOf({ a: '1' })));
    });
  } else describeExists(suite);
}

function describeExists({ it, clock, open, openTwo }: Suite): void {
  it('returns exists where a record is, and changes nothing', async () => {
    const store = await open();
    const record = recordOf({ a: '1' });
    const key = await create(store, record);
    assert.deepEqual(await store.create(key, recordOf({ b: '2' }), call()), { outcome: 'exists' });
    assertRecord(await load(store, key), record);
  });

  it('creates one record of 20 at once', async () => {
    const stores = await openTwo();
    const key = newKey();
    const answers = await Promise.all(
      times(20, (i) => stores[i % 2 ? 1 : 0].create(key, recordOf({ winner: String(i) }), call())),
    );
    const winners = answers.flatMap(({ outcome }, i) => (outcome === 'created' ? [String(i)] : []));
    assert.equal(winners.length, 1);
    assert.deepEqual(await loadEntries(stores[1], key), { winner: winners[0] });
  });

  it('replaces an expired record', async () => {
    const store = await open();
    const key = await create(store, recordOf({ a: '1' }));
    clock.advance(HOUR + 1);
    const record = recordOf({ b: '2' });
    assert.equal((await store.create(key, record, call())).outcome, 'created');
    assertRecord(await load(store, key), record);
  });
}
