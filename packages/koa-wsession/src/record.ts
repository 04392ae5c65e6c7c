import type { Changes, SessionRecord, Updated } from './store.js';

/* What a store that holds a record as one piece needs: to apply changes to it, and to write it down. */

/** The changes applied to a record: what `update` stores, for stores that hold a record as one piece. */
export function applyChanges(record: SessionRecord, changes: Changes): SessionRecord {
  const entries = new Map(record.entries);
  for (const [key, value] of changes.set) entries.set(key, value);
  for (const key of changes.delete) entries.delete(key);
  return { entries, createdAt: record.createdAt, expiresAt: changes.expiresAt };
}

/** The answer `conflict` when the record doesn't hold what the changes expect, else `undefined`. */
export function findConflict(record: SessionRecord, { expect }: Changes): Updated | undefined {
  if (!expect) return undefined;
  const actual = record.entries.get(expect.key);
  return actual === expect.value ? undefined : { outcome: 'conflict', actual };
}

/**
 * A record as one string, for stores that keep it as one piece (a file, a sealed cookie, a column).
 *
 * A header line of lengths, then everything they measure: nothing is escaped, so a large value costs one copy to
 * write and one slice to read, and nothing that a key or a value holds can be mistaken for structure.
 * `owner` is whose record it is (its address), so that a record moved to another's place is told apart.
 *
 *     1,<created>,<expires>,<owner length>{,<key length>,<value length>}\n<owner>{<key><value>}
 */
export function packRecord(owner: string, record: SessionRecord): string {
  let header = `1,${record.createdAt.toString(36)},${record.expiresAt.toString(36)},${owner.length.toString(36)}`;
  let body = owner;
  for (const [key, value] of record.entries) {
    header += `,${key.length.toString(36)},${value.length.toString(36)}`;
    body += key + value;
  }
  return `${header}\n${body}`;
}

/** The record that `packRecord` packed for this owner; `undefined` for anything else, however damaged. */
export function unpackRecord(owner: string, text: string): SessionRecord | undefined {
  const opened = openRecord(text);
  return opened?.owner === owner ? opened.record : undefined;
}

/** The same, where the record itself is to say whose it is (a sealed cookie). */
export function openRecord(text: string): { owner: string; record: SessionRecord } | undefined {
  const newline = text.indexOf('\n');
  if (!text.startsWith('1,') || newline < 0) return undefined;
  let next = 2;
  /** The header's next number; NaN for what is none, which makes the sums below NaN, too. */
  const number = (): number => {
    let value = 0;
    let digits = 0;
    for (; next < newline; next++, digits++) {
      const code = text.charCodeAt(next);
      if (code >= 48 && code <= 57) value = value * 36 + code - 48;
      else if (code >= 97 && code <= 122) value = value * 36 + code - 87;
      else break;
    }
    const isWhole = digits > 0 && (next === newline || text.charCodeAt(next) === COMMA);
    next++;
    return isWhole ? value : Number.NaN;
  };
  let at = newline + 1;
  const take = (length: number): string => {
    const part = text.slice(at, at + length);
    at += length;
    return part;
  };

  const createdAt = number();
  const expiresAt = number();
  const owner = take(number());
  const entries = new Map<string, string>();
  while (next < newline) entries.set(take(number()), take(number()));
  // Damage to a length makes the sum of them all wrong.
  return Number.isInteger(createdAt) &&
    Number.isInteger(expiresAt) &&
    next === newline + 1 &&
    at === text.length
    ? { owner, record: { entries, createdAt, expiresAt } }
    : undefined;
}

const COMMA = 44;
