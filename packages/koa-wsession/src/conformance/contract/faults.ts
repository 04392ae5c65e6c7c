import assert from 'node:assert/strict';
import type { Awaitable, Call, Store } from '../../store/store.js';
import type { Suite } from '../suite.js';
import {
  assertRecord,
  call,
  changesOf,
  create,
  HOUR,
  isThere,
  load,
  loadEntries,
  newKey,
  recordOf,
} from './records.js';

/** Damaged records, calls after their deadline, and a storage that fails. */
export function describeFaults(suite: Suite): void {
  const { describe, fixture } = suite;
  if (fixture.corrupt) describe('a damaged record', () => describeDamage(suite));
  describe('a call after its deadline', () => describeDeadline(suite));
  if (fixture.fail && fixture.restore) describe('a failing storage', () => describeOutage(suite));
}

function describeDamage({ it, fixture, open }: Suite): void {
  const createDamaged = async (store: Store): Promise<string> => {
    const key = await create(store, recordOf({ a: '1' }));
    await fixture.corrupt?.(key);
    return key;
  };

  it('is not there, for any call', async () => {
    const store = await open();
    const key = await createDamaged(store);
    assert.equal(await isThere(store, key), false);
    assert.deepEqual(await store.update(key, changesOf({ set: { b: '2' } }), call()), { outcome: 'gone' });
    const replaced = { by: newKey(), until: Date.now() + HOUR };
    assert.deepEqual(await store.destroy(key, call({ replaced })), { outcome: 'none' });
    assert.deepEqual(await store.destroy(key, call()), { outcome: 'none' });
    assert.equal(await isThere(store, key), false);
  });

  it('is replaced by create', async () => {
    const store = await open();
    const key = await createDamaged(store);
    const record = recordOf({ b: '2' });
    assert.equal((await store.create(key, record, call())).outcome, 'created');
    assertRecord(await load(store, key), record);
  });
}

/**
 * The rule: a store must not begin a step when nobody waits for it any more, so it rejects and stores nothing. Where a
 * call returns synchronously, the step was done before the caller could stop waiting, and the deadline doesn't matter.
 */
function describeDeadline({ it, open }: Suite): void {
  /** Whether the call was refused; `false` where it returned synchronously. */
  const isRefused = async (step: (late: Call) => Awaitable<unknown>): Promise<boolean> => {
    let answer: unknown;
    try {
      answer = step({ ...call(), deadline: performance.now() - 1 });
    } catch {
      return true;
    }
    if (!(answer instanceof Promise)) return false;
    await assert.rejects(answer);
    return true;
  };

  it('rejects and changes nothing, unless it returns synchronously', async () => {
    const store = await open();
    const key = await create(store, recordOf({ a: '1' }));
    const [fresh, group] = [newKey(), newKey()];
    if (await isRefused((late) => store.create(fresh, recordOf({}), late)))
      assert.equal(await isThere(store, fresh), false);
    if (await isRefused((late) => store.update(key, changesOf({ set: { a: '2' } }), late)))
      assert.deepEqual(await loadEntries(store, key), { a: '1' });
    if (await isRefused((late) => store.destroy(key, late))) assert.equal(await isThere(store, key), true);
    const { index } = store;
    if (index && (await isRefused((late) => index.add(group, key, Date.now() + HOUR, late))))
      assert.deepEqual(await index.keys(group, call()), []);
  });
}

function describeOutage({ it, fixture, open }: Suite): void {
  it('makes every call reject or stay silent, and loses no record', async () => {
    const store = await open();
    const key = await create(store, recordOf({ a: '1' }));
    const ended = await create(store, recordOf({ a: '1' }));
    const brief = (): Call => ({ ...call(), deadline: performance.now() + 500 });
    const { index } = store;
    await fixture.fail?.();
    try {
      await Promise.all([
        assertNoAnswer('load', () => store.load(key, brief())),
        assertNoAnswer('create', () => store.create(newKey(), recordOf({}), brief())),
        assertNoAnswer('update', () => store.update(key, changesOf({ set: { a: '2' } }), brief())),
        assertNoAnswer('destroy', () => store.destroy(ended, brief())),
        index && assertNoAnswer('index.add', () => index.add(newKey(), key, Date.now() + HOUR, brief())),
        index && assertNoAnswer('index.keys', () => index.keys(newKey(), brief())),
        store.scan && assertNoAnswer('scan', () => drain(store.scan?.(brief))),
      ]);
    } finally {
      await fixture.restore?.();
    }
    assert.ok((await load(store, key)).entries.has('a'));
  });
}

/** "Not there" in an outage would log everybody out, and an acknowledgement would be a lie. */
async function assertNoAnswer(name: string, step: () => unknown): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const silence = new Promise((resolve) => {
    timer = setTimeout(resolve, 1000, 'silence');
  });
  const outcome = await Promise.race([(async () => step())().catch(() => 'error'), silence]);
  clearTimeout(timer);
  assert.ok(outcome === 'error' || outcome === 'silence', `${name} answered`);
}

async function drain(batches: AsyncIterable<unknown> | undefined): Promise<void> {
  for await (const _ of batches ?? []);
}
