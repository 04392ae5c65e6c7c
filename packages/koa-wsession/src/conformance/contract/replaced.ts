import assert from 'node:assert/strict';
import type { Replacement, Store } from '../../store/store.js';
import type { Suite } from '../suite.js';
import { recordIn } from './destroy.js';
import {
  assertRecord,
  call,
  changesOf,
  create,
  HOUR,
  isThere,
  load,
  newKey,
  recordOf,
  times,
  update,
} from './records.js';

const MINUTE = 60_000;

export function describeReplaced(suite: Suite): void {
  describeMark(suite);
  describeNoMark(suite);
  describeEndOfMark(suite);
  if (!suite.fixture.isolated) describeMarkElsewhere(suite);
}

function markOf(until: number = Date.now() + MINUTE): Replacement {
  return { by: newKey(), until };
}

/** What the four calls return where the mark is. `create` takes an address, so a token doesn't lead it to the mark. */
async function assertMark(store: Store, key: string, { by, until }: Replacement): Promise<void> {
  assert.deepEqual(await store.load(key, call()), { by, until });
  const changes = changesOf({ set: { b: '2' }, expiresAt: Date.now() + HOUR });
  assert.deepEqual(await store.update(key, changes, call()), { outcome: 'gone' });
  assert.deepEqual(await store.destroy(key, call()), { outcome: 'replaced', by });
  if (!store.capabilities.seals) assert.deepEqual(await store.create(key, recordOf({}), call()), { outcome: 'exists' });
  assert.deepEqual(await store.load(key, call()), { by, until });
}

function describeMark({ it, open }: Suite): void {
  it('ends the record, returns it exactly, and leaves a mark that every call respects', async () => {
    const store = await open();
    const key = await update(store, await create(store, recordOf({ a: '1' })), { set: { b: '2' } });
    const record = await load(store, key);
    const replaced = markOf();
    assertRecord(recordIn(await store.destroy(key, call({ replaced })), 'destroyed'), record);
    await assertMark(store, key, replaced);
  });

  it('leaves a mark without a successor', async () => {
    const store = await open();
    const key = await create(store, recordOf({ a: '1' }));
    const replaced = { by: '', until: Date.now() + MINUTE };
    await store.destroy(key, call({ replaced }));
    await assertMark(store, key, replaced);
  });

  it('leaves it under every token that updates of the session led to', async () => {
    const store = await open();
    const key = await create(store, recordOf({ a: '1' }));
    const later = await update(store, key, { set: { b: '2' } });
    const replaced = markOf();
    await store.destroy(key, call({ replaced }));
    await assertMark(store, later, replaced);
  });

  it('of several at once leaves the mark of the one that ended the record', async () => {
    const store = await open();
    const key = await create(store, recordOf({ a: '1' }));
    const marks = times(10, () => markOf());
    const answers = await Promise.all(marks.map(async (replaced) => store.destroy(key, call({ replaced }))));
    const winner = marks[answers.findIndex(({ outcome }) => outcome === 'destroyed')];
    assert.ok(winner);
    const others = answers.filter(({ outcome }) => outcome !== 'destroyed');
    assert.deepEqual(
      others,
      times(9, () => ({ outcome: 'replaced', by: winner.by })),
    );
    await assertMark(store, key, winner);
  });
}

function describeNoMark({ it, clock, open }: Suite): void {
  const assertNoMark = async (store: Store, key: string): Promise<void> => {
    assert.deepEqual(await store.destroy(key, call({ replaced: markOf() })), { outcome: 'none' });
    assert.equal(await isThere(store, key), false);
  };

  it('leaves no mark where no record was', async () => {
    await assertNoMark(await open(), newKey());
  });

  it('leaves no mark where the record was destroyed without one', async () => {
    const store = await open();
    const key = await create(store, recordOf({ a: '1' }));
    await store.destroy(key, call());
    await assertNoMark(store, key);
  });

  it('leaves no mark where the record is expired', async () => {
    const store = await open();
    const key = await create(store, recordOf({ a: '1' }));
    clock.advance(HOUR);
    await assertNoMark(store, key);
  });

  it("doesn't replace or extend a mark", async () => {
    const store = await open();
    const key = await create(store, recordOf({ a: '1' }));
    const first = markOf();
    await store.destroy(key, call({ replaced: first }));
    const second = markOf(Date.now() + HOUR);
    assert.deepEqual(await store.destroy(key, call({ replaced: second })), {
      outcome: 'replaced',
      by: first.by,
    });
    await assertMark(store, key, first);
  });
}

function describeEndOfMark({ it, fixture, clock, open }: Suite): void {
  it('leaves the mark until its own instant, to the millisecond; the session stays ended', async () => {
    const store = await open();
    const start = clock.freeze();
    const key = await create(store, recordOf({ a: '1' }));
    const replaced = markOf(start + MINUTE);
    await store.destroy(key, call({ replaced }));
    clock.advance(MINUTE - 1);
    await assertMark(store, key, replaced);
    clock.advance(1);
    assert.equal(await isThere(store, key), false);
    assert.deepEqual(await store.update(key, changesOf({ set: { b: '2' } }), call()), { outcome: 'gone' });
    assert.deepEqual(await store.destroy(key, call()), { outcome: 'none' });
    if (fixture.capabilities.seals) return;
    const record = recordOf({ c: '3' });
    assert.equal((await store.create(key, record, call())).outcome, 'created');
    assertRecord(await load(store, key), record);
  });

  it('leaves the mark also longer than the record would have lived', async () => {
    const store = await open();
    const start = clock.freeze();
    const key = await create(store, recordOf({ a: '1' }, { expiresAt: start + 1000 }));
    const replaced = markOf(start + MINUTE);
    await store.destroy(key, call({ replaced }));
    clock.advance(MINUTE - 1);
    await assertMark(store, key, replaced);
  });
}

function describeMarkElsewhere({ it, fixture, openTwo }: Suite): void {
  const { revokes } = fixture.capabilities;

  it(`leaves the mark ${revokes ? 'for every store on the same storage' : 'only in the store that was called'}`, async () => {
    const [one, other] = await openTwo();
    const key = await create(one, recordOf({ a: '1' }));
    const replaced = markOf();
    await one.destroy(key, call({ replaced }));
    await assertMark(one, key, replaced);
    if (revokes) await assertMark(other, key, replaced);
    else assert.equal(await isThere(other, key), true);
  });
}
