import assert from 'node:assert/strict';
import type { Destroyed, SessionRecord, Updated } from '../../store/store.js';
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
  recordOf,
  times,
  tokenOf,
  update,
} from './records.js';

export function describeDestroy(suite: Suite): void {
  const { it, fixture, clock, open } = suite;

  it('returns the record that it ended, exactly, and none the second time', async () => {
    const store = await open();
    const record = recordOf({ a: '1' });
    const key = await update(store, await create(store, record), {
      set: { b: '2' },
      updatedAt: record.updatedAt + 5,
    });
    const before = await load(store, key);
    const destroyed = await store.destroy(key, call());
    assertRecord(recordIn(destroyed, 'destroyed'), before);
    assert.equal(await isThere(store, key), false);
    assert.deepEqual(await store.destroy(key, call()), { outcome: 'none' });
  });

  it('returns none where no record is, whatever the key', async () => {
    const store = await open();
    for (const key of HOSTILE) assert.deepEqual(await store.destroy(key, call()), { outcome: 'none' });
  });

  it('returns none where the record is expired', async () => {
    const store = await open();
    const key = await create(store, recordOf({ a: '1' }));
    clock.advance(HOUR);
    assert.deepEqual(await store.destroy(key, call()), { outcome: 'none' });
  });

  it('ends the session under every token that its updates led to', async () => {
    const store = await open();
    const key = await create(store, recordOf({ a: '1' }));
    const later = await update(store, key, { set: { b: '2' }, expiresAt: Date.now() + 5 * HOUR });
    await store.destroy(key, call());
    assert.equal(await isThere(store, later), false);
    clock.advance(2 * HOUR); // the record as it was at first is expired by now, the updated one isn't
    assert.equal(await isThere(store, later), false);
  });

  describeRevision(suite);
  describeAtOnce(suite);
  if (!fixture.isolated) describeElsewhere(suite);
}

/** The record of an answer with this outcome. */
export function recordIn(answer: Destroyed, outcome: 'destroyed' | 'changed'): SessionRecord {
  assert.equal(answer.outcome, outcome);
  return (answer as { record: SessionRecord }).record;
}

function describeRevision({ it, fixture, open }: Suite): void {
  if (!fixture.capabilities.merges) {
    it('ignores the revision, since the store knows only the one in the token', async () => {
      const store = await open();
      const key = await create(store, recordOf({ a: '1' }));
      recordIn(await store.destroy(key, call({ revision: 7 })), 'destroyed');
      assert.equal(await isThere(store, key), false);
    });
    return;
  }

  it('with a revision that is not the current one, returns changed with the record, which stays', async () => {
    const store = await open();
    const key = await create(store, recordOf({ a: '1' }));
    await update(store, key, { set: { b: '2' } });
    const record = await load(store, key);
    const replaced = { by: 'other', until: Date.now() + HOUR };
    for (const wrong of [{ revision: 1 }, { revision: 3 }, { revision: 0 }, { revision: 1, replaced }]) {
      assertRecord(recordIn(await store.destroy(key, call(wrong)), 'changed'), record);
      assertRecord(await load(store, key), record);
    }
    assertRecord(recordIn(await store.destroy(key, call({ revision: 2 })), 'destroyed'), record);
    assert.equal(await isThere(store, key), false);
  });

  it('with a revision, returns none where no record is', async () => {
    const store = await open();
    assert.deepEqual(await store.destroy(HOSTILE.at(-1) as string, call({ revision: 1 })), {
      outcome: 'none',
    });
  });
}

function describeAtOnce({ it, fixture, openTwo }: Suite): void {
  const { merges, seals } = fixture.capabilities;

  it('of several at once ends the session once, and no update after it is stored', async () => {
    const [store, second] = await openTwo();
    const other = seals ? store : second;
    for (let round = 0; round < 10; round++) {
      const key = await create(store, recordOf({ a: '1' }));
      const add = (name: string): Promise<Updated> =>
        (async () => other.update(key, changesOf({ set: { [name]: '1' } }), call()))();
      const before = times(5, (i) => add(`before ${i}`));
      const ends = times(5, async (i) => (i % 2 ? other : store).destroy(key, call()));
      const updates = await Promise.all([...before, ...times(5, (i) => add(`after ${i}`))]);
      const ended = (await Promise.all(ends)).filter(({ outcome }) => outcome !== 'none');
      assert.equal(ended.length, 1);
      const stored = updates.filter(({ outcome }) => outcome === 'updated');
      for (const answer of stored) assert.equal(await isThere(store, tokenOf(answer, key)), false);
      assert.equal(await isThere(store, key), false);
      const { entries, revision } = recordIn(ended[0] as Destroyed, 'destroyed');
      if (!merges) continue;
      assert.equal(entries.size, 1 + stored.length, 'what was acknowledged before is in what was destroyed');
      assert.equal(revision, 1 + stored.length);
    }
  });
}

function describeElsewhere({ it, fixture, openTwo }: Suite): void {
  const { revokes } = fixture.capabilities;

  it(`holds ${revokes ? 'for every store on the same storage' : 'only in the store that was called'}`, async () => {
    const [one, other] = await openTwo();
    const key = await create(one, recordOf({ a: '1' }));
    await one.destroy(key, call());
    assert.equal(await isThere(one, key), false);
    assert.equal(await isThere(other, key), !revokes);
    const { outcome } = await other.update(key, changesOf({ set: { b: '2' } }), call());
    assert.equal(outcome, revokes ? 'gone' : 'updated');
  });
}
