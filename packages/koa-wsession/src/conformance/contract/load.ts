import assert from 'node:assert/strict';
import type { Suite } from '../suite.js';
import { assertRecord, call, create, HOSTILE, isThere, load, newKey, recordOf, times, update } from './records.js';

/** What keys and values may hold: a value is opaque, whatever it looks like. */
const UNUSUAL: readonly string[] = [
  '',
  ' ',
  '\0',
  '\0\0',
  '__proto__',
  'constructor',
  'toString',
  '0',
  '-1',
  'a:b',
  'a,b',
  'a\nb',
  '"',
  '{}',
  "'; --",
  '../..',
  'é',
  '\u2028',
  '😀',
  '𝕏'.repeat(50),
];

export function describeLoad(suite: Suite): void {
  const { it, fixture, clock, open, openTwo } = suite;

  it('returns no record for a key without one, whatever the key', async () => {
    const store = await open();
    for (const key of HOSTILE) assert.equal(await isThere(store, key), false, JSON.stringify(key.slice(0, 40)));
  });

  it('returns the record as it is at that moment, which never changes afterwards', async () => {
    const store = await open();
    const record = recordOf({ keep: '1', change: '2', drop: '3' });
    const key = await create(store, record);
    const loaded = await load(store, key);
    const changed = await update(store, key, { set: { change: '4', add: '5' }, delete: ['drop'] });
    assertRecord(loaded, record);
    await store.destroy(changed, call());
    assertRecord(loaded, record);
  });

  it('returns the same to another store on the same storage', async () => {
    const [one, other] = await openTwo();
    const record = recordOf({ a: '1' });
    assertRecord(await load(other, await create(one, record)), record);
  });

  it('returns the record until the instant of its expiry, to the millisecond', async () => {
    const store = await open();
    const now = clock.freeze();
    const key = await create(store, recordOf({}, { expiresAt: now + 1000 }));
    clock.advance(999);
    assert.equal(await isThere(store, key), true);
    clock.advance(1);
    assert.equal(await isThere(store, key), false);
  });

  describeContents(suite);
  if (fixture.capabilities.seals) describeTokens(suite);
}

function describeContents({ it, fixture, open }: Suite): void {
  const { seals } = fixture.capabilities;

  it('returns unusual keys and values exactly', async () => {
    const store = await open();
    const last = UNUSUAL.length - 1;
    const record = recordOf(UNUSUAL.map((key, i) => [key, UNUSUAL[last - i] as string] as const));
    const key = await create(store, record);
    // A sealed token that no cookie can hold needn't open.
    if (seals && !(await isThere(store, key))) return;
    assertRecord(await load(store, key), record);
  });

  it('returns a record without entries', async () => {
    const store = await open();
    const record = recordOf({});
    assertRecord(await load(store, await create(store, record)), record);
  });

  if (seals) return;

  it('returns 1,000 keys, and a value of 5 MB', async () => {
    const store = await open();
    const record = recordOf([
      ...times(1000, (i) => [`key ${i}`, String(i)] as const),
      ['large', 'ä'.repeat(2_500_000)],
    ]);
    assertRecord(await load(store, await create(store, record)), record);
  });
}

/** A store that seals keeps the record in the token. */
function describeTokens({ it, open, fixture }: Suite): void {
  const { revokes } = fixture.capabilities;

  it(revokes ? 'returns the record or a promise' : 'returns synchronously', async () => {
    const store = await open();
    const key = await create(store, recordOf({ a: '1' }));
    const answer = store.load(key, call());
    assert.ok(revokes || !(answer instanceof Promise));
    await answer;
  });

  it('opens a token only under the name that it was sealed for', async () => {
    const store = await open();
    const key = await create(store, recordOf({ a: '1' }));
    assert.equal(await isThere(store, key, { ...call(), name: 'other' }), false);
  });

  it('opens no token that was changed, shortened or extended', async () => {
    const store = await open();
    const key = await create(store, recordOf({ a: '1' }));
    const forged = [key.slice(1), key.slice(0, -1), `${key}A`, key.toLowerCase(), newKey()];
    for (let at = 0; at < key.length; at += Math.ceil(key.length / 100)) {
      forged.push(`${key.slice(0, at)}${key[at] === 'A' ? 'B' : 'A'}${key.slice(at + 1)}`);
    }
    for (const token of forged) assert.equal(await isThere(store, token), false);
  });
}
