import assert from 'node:assert/strict';
import type { Store } from '../../store/store.js';
import type { Suite } from '../suite.js';
import { call, create, isThere, recordOf, times } from './records.js';

export function describeScan({ it, fixture, open }: Suite): void {
  const has = !fixture.capabilities.seals && fixture.scan !== false;

  it(has ? 'is there' : 'is not there', async () => {
    assert.equal((await open()).scan !== undefined, has);
  });

  if (!has) return;

  it('returns each record that is there from start to end, of 1,000, while others come and go', async () => {
    const store = await open();
    const stay: string[] = [];
    const pass: string[] = [];
    for (let i = 0; i < 40; i++) {
      stay.push(...(await Promise.all(times(25, () => create(store, recordOf({ a: '1' }))))));
      pass.push(await create(store, recordOf({})));
    }
    const seen = new Set<string>();
    for await (const keys of scan(store)) {
      for (const key of keys) seen.add(key);
      const leaving = pass.shift();
      if (leaving) await store.destroy(leaving, call());
      await create(store, recordOf({}));
    }
    assert.deepEqual(
      stay.filter((key) => !seen.has(key)),
      [],
    );
  });

  it('may be left early', async () => {
    const store = await open();
    const key = await create(store, recordOf({ a: '1' }));
    for await (const _ of scan(store)) break;
    assert.ok(await isThere(store, key));
  });
}

function scan(store: Store): AsyncIterable<readonly string[]> {
  assert.ok(store.scan);
  return store.scan(() => call());
}
