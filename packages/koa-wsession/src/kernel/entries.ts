import { SessionSizeError } from '../errors.js';
import type { Changes, Entries } from '../store/store.js';

/*
 * Besides the user's keys, a session has entries of the core and of its features. They are merged, carried and expired
 * like any other; only their keys differ, by a NUL in front. A user's key that begins with a NUL gets a second one. A login
 * keeps only the entries that it names (`planFor` in features/login.ts).
 */

/** This session's own lifetime, from `ctx.session.maxAge`. */
export const MAX_AGE_KEY: string = '\0maxAge';

/** When the visitor logged in or confirmed it; `absoluteTimeout` counts from here where it is set. */
export const AUTHENTICATED_KEY: string = '\0authenticated';

/** Of a session that took another one's place: the key of that one, which may be alive for a moment more. */
export const FORMER_KEY: string = '\0former';

export function toEntryKey(key: string): string {
  return key.startsWith('\0') ? `\0${key}` : key;
}

export function isUserKey(entryKey: string): boolean {
  return !entryKey.startsWith('\0') || entryKey.startsWith('\0\0');
}

/** The key as errors show it: a user's key as the user wrote it, or the name of one of ours, up to a further NUL. */
export function toUserKey(entryKey: string): string {
  if (!entryKey.startsWith('\0')) return entryKey;
  const name = entryKey.slice(1);
  return isUserKey(entryKey) ? name : (name.split('\0', 1)[0] as string);
}

/** What a request changed, key by key. */
export type EntryChanges = Pick<Changes, 'set' | 'delete'>;

export const NO_CHANGES: EntryChanges = { set: new Map(), delete: [] };

/** The entries with the changes applied. */
export function applyTo(entries: Entries, { set, delete: removed }: EntryChanges): Map<string, string> {
  const after = new Map(entries);
  for (const [key, text] of set) after.set(key, text);
  for (const key of removed) after.delete(key);
  return after;
}

/** The entries as they will be, for a few looks: without a copy of them all. */
export function peekAfter(entries: Entries, { set, delete: removed }: EntryChanges): Pick<Entries, 'get'> {
  return { get: (key) => (removed.includes(key) ? undefined : (set.get(key) ?? entries.get(key))) };
}

/** What turned `before` into `after`, of the keys that `isWanted`. */
export function difference(
  before: Entries,
  after: Entries,
  isWanted: (key: string) => boolean,
): EntryChanges | undefined {
  const set = new Map([...after].filter(([key, text]) => before.get(key) !== text && isWanted(key)));
  const removed = [...before.keys()].filter((key) => !after.has(key) && isWanted(key));
  return set.size > 0 || removed.length > 0 ? { set, delete: removed } : undefined;
}

/** The changed keys, as errors show them. */
export function keysOf({ set, delete: removed }: EntryChanges = NO_CHANGES): string[] {
  return [...set.keys(), ...removed].map(toUserKey);
}

/** How many bytes each key takes. */
export function sizesOf(entries: Entries): Array<[key: string, bytes: number]> {
  return [...entries].map(([key, text]) => [toUserKey(key), Buffer.byteLength(key) + Buffer.byteLength(text)]);
}

/** Refuses a session of more than so many bytes, unless it was larger before. `set`: what is added to it, or more. */
export function assertSize(before: Entries, set: Entries, after: () => Entries, maxBytes: number): void {
  // Nearly always far below, however it is encoded: UTF-8 takes at most 3 bytes for a UTF-16 unit.
  if (3 * (lengthOf(before) + lengthOf(set)) <= maxBytes) return;
  const sizes = sizesOf(after());
  const bytes = sumOf(sizes);
  if (bytes > maxBytes && bytes > sumOf(sizesOf(before))) throw new SessionSizeError(bytes, maxBytes, sizes);
}

function lengthOf(entries: Entries): number {
  let length = 0;
  entries.forEach((text, key) => {
    length += key.length + text.length;
  });
  return length;
}

function sumOf(sizes: ReadonlyArray<readonly [key: string, bytes: number]>): number {
  return sizes.reduce((sum, [, bytes]) => sum + bytes, 0);
}
