import assert from 'node:assert/strict';
import { addressOf, newId } from '../../kernel/token.js';
import { isRecord, isReplacement } from '../../store/record.js';
import type { Call, Changes, DestroyCall, SessionRecord, Store } from '../../store/store.js';

/* Records, changes and calls for the tests of the contract, and what the tests expect of them. */

export const HOUR = 3_600_000;

/** Keys that no record is under, and that must not lead to anything else. */
export const HOSTILE: readonly string[] = [
  '',
  '.',
  '..',
  '../../etc/passwd',
  '..\\x',
  '/etc/passwd',
  'a/b',
  'a\0b',
  '\0',
  '__proto__',
  'constructor',
  '*',
  '%2e%2e',
  "'; --",
  '😀',
  'A'.repeat(10_000),
  newKey(),
];

/** The address of a new session. */
export function newKey(): string {
  return addressOf('conformance', newId());
}

export function call(more: Partial<DestroyCall> = {}): Call {
  return { name: 'conformance', deadline: performance.now() + 10_000, ...more };
}

export type Content = Readonly<Record<string, string>> | ReadonlyArray<readonly [key: string, value: string]>;

function entriesOf(content: Content): Map<string, string> {
  return new Map(Array.isArray(content) ? content : Object.entries(content));
}

/** A record created now that expires in an hour. */
export function recordOf(content: Content, more: Partial<SessionRecord> = {}): SessionRecord {
  const now = Date.now();
  return {
    entries: entriesOf(content),
    createdAt: now,
    updatedAt: now,
    expiresAt: now + HOUR,
    revision: 1,
    ...more,
  };
}

export interface ChangesOf {
  set?: Content;
  delete?: readonly string[];
  updatedAt?: number;
  expiresAt?: number | undefined;
  expect?: Readonly<Record<string, string | undefined>>;
}

/** Changes that keep the expiry unless told otherwise. */
export function changesOf({ set = {}, delete: removed = [], updatedAt, expiresAt, expect }: ChangesOf): Changes {
  return {
    set: entriesOf(set),
    delete: removed,
    updatedAt: updatedAt ?? Date.now(),
    expiresAt,
    ...(expect && { expect: new Map(Object.entries(expect)) }),
  };
}

/** Creates the record under a new address. Returns its key: the address, or the token of a store that seals. */
export async function create(store: Store, record: SessionRecord): Promise<string> {
  const address = newKey();
  return tokenOf(await store.create(address, record, call()), address);
}

/** Updates the record. Returns its key from now on. */
export async function update(store: Store, key: string, changes: ChangesOf): Promise<string> {
  return tokenOf(await store.update(key, changesOf(changes), call()), key);
}

/** The key after a call that has to succeed. */
export function tokenOf(answer: { outcome: string; token?: string }, key: string): string {
  assert.ok(['created', 'updated'].includes(answer.outcome), `the outcome is ${answer.outcome}`);
  return answer.token ?? key;
}

/** The record under the key, which has to be there. */
export async function load(store: Store, key: string): Promise<SessionRecord> {
  const loaded = await store.load(key, call());
  assert.ok(isRecord(loaded), `load returned ${JSON.stringify(loaded)} in place of a record`);
  return loaded;
}

/** The entries of the record under the key, as an object. */
export async function loadEntries(store: Store, key: string): Promise<Record<string, string>> {
  return Object.fromEntries((await load(store, key)).entries);
}

/** Whether a record is under the key. Where none is, `load` has to return a reason of the contract, and no mark. */
export async function isThere(store: Store, key: string, at: Call = call()): Promise<boolean> {
  const loaded = await store.load(key, at);
  if (isRecord(loaded)) return true;
  assert.ok(!isReplacement(loaded), 'load returned a mark where none was left');
  assert.ok([undefined, 'expired', 'corrupt', 'seal'].includes(loaded), `load returned ${loaded}`);
  return false;
}

/** The record itself, in every member, whatever the order of its entries. */
export function assertRecord(actual: SessionRecord, expected: SessionRecord): void {
  assert.deepEqual(plain(actual), plain(expected));
}

function plain({ entries, createdAt, updatedAt, expiresAt, revision }: SessionRecord): object {
  return { createdAt, updatedAt, expiresAt, revision, entries: new Map(entries) };
}

/** The numbers from 0, as often as told. */
export function times<T>(count: number, make: (i: number) => T): T[] {
  return Array.from({ length: count }, (_, i) => make(i));
}
