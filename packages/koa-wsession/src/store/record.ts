import type { Absent, Changes, Destroyed, Replacement, SessionRecord, Updated } from './store.js';

/* Helpers for stores that hold a record as one piece: apply changes to it, and write it as text. */

/** Whether `load` returned a record. */
export function isRecord(loaded: SessionRecord | Absent): loaded is SessionRecord {
  return typeof loaded === 'object' && 'entries' in loaded;
}

/** Whether `load` returned the mark of a session that goes on under another id. */
export function isReplacement(loaded: SessionRecord | Absent): loaded is Replacement {
  return typeof loaded === 'object' && !isRecord(loaded) && 'by' in loaded;
}

/** The record with the changes applied: what `update` stores. */
export function applyChanges(record: SessionRecord, changes: Changes): SessionRecord {
  const entries = new Map<string, string>();
  // `forEach` makes no list for each entry, as `new Map(record.entries)` does.
  for (const part of [record.entries, changes.set]) part.forEach((value, key) => void entries.set(key, value));
  for (const key of changes.delete) entries.delete(key);
  return {
    entries,
    createdAt: record.createdAt,
    updatedAt: changes.updatedAt,
    expiresAt: changes.expiresAt ?? record.expiresAt,
    revision: record.revision + 1,
  };
}

/** The answer `conflict` where the record doesn't hold what the changes expect, else `undefined`. */
export function findConflict(record: SessionRecord, { expect }: Changes): Updated | undefined {
  if (!expect) return undefined;
  const actual = new Map(Array.from(expect.keys(), (key) => [key, record.entries.get(key)]));
  for (const [key, value] of expect) if (actual.get(key) !== value) return { outcome: 'conflict', actual };
  return undefined;
}

/** What `destroy` returns where there is no record to end. */
export function noneToDestroy(loaded: Absent): Destroyed {
  return isReplacement(loaded) ? { outcome: 'replaced', by: loaded.by } : { outcome: 'none' };
}

/**
 * A record as one string, for stores that keep it as one piece (a file, a sealed cookie).
 *
 * A header line of numbers, then what their lengths measure: nothing is escaped, so a large value costs one copy to
 * write and one slice to read, and nothing that a key or a value holds can be mistaken for structure. Of three instants,
 * two are differences, which are shorter, and small enough for V8 to write them fast.
 * `address` is the session's own, so that a record that was moved to another's place doesn't count.
 *
 *     3,<created>,<updated - created>,<expires - updated>,<revision>,<address length>{,<key length>,<value length>}\n<address>{<key><value>}
 */
export function packRecord(address: string, record: SessionRecord): string {
  const { createdAt, updatedAt, expiresAt, revision } = record;
  let header = `3,${createdAt},${updatedAt - createdAt},${expiresAt - updatedAt},${revision},${address.length}`;
  let body = address;
  for (const [key, value] of record.entries) {
    header += `,${key.length},${value.length}`;
    body += key + value;
  }
  return `${header}\n${body}`;
}

/** The record that `packRecord` packed for this address; `undefined` for anything else, however damaged. */
export function unpackRecord(address: string, text: string): SessionRecord | undefined {
  const opened = openRecord(text);
  return opened?.address === address ? opened.record : undefined;
}

/** The same, where the text itself has to name the address (a sealed cookie). */
export function openRecord(text: string): { address: string; record: SessionRecord } | undefined {
  const newline = text.indexOf('\n');
  if (!text.startsWith('3,') || newline < 0) return undefined;
  let next = 2;
  /** The header's next number; NaN for anything else, which makes the sums below NaN, too. */
  const number = (): number => {
    const start = next;
    let value = 0;
    let code = text.charCodeAt(next);
    for (; code >= 48 && code <= 57; code = text.charCodeAt(++next)) value = value * 10 + code - 48;
    const isWhole = next > start && (next === newline || text[next] === ',');
    next++;
    return isWhole ? value : Number.NaN;
  };
  const difference = (): number => {
    if (text[next] !== '-') return number();
    next++;
    return -number();
  };
  let at = newline + 1;
  const take = (length: number): string => {
    const part = text.slice(at, at + length);
    at += length;
    return part;
  };

  const createdAt = number();
  const updatedAt = createdAt + difference();
  const expiresAt = updatedAt + difference();
  const revision = number();
  const address = take(number());
  const entries = new Map<string, string>();
  while (next < newline) entries.set(take(number()), take(number()));
  // Damage to a length makes the sum of them all wrong.
  return Number.isInteger(expiresAt + revision) && next === newline + 1 && at === text.length
    ? { address, record: { entries, createdAt, updatedAt, expiresAt, revision } }
    : undefined;
}
