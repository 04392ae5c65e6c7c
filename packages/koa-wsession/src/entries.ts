import { decode, encode, isImmutable } from './codec.js';
import { ValueError } from './errors.js';
import type { Changes, Entries } from './store.js';

/** What a request changed, key by key. */
export type EntryChanges = Pick<Changes, 'set' | 'delete'>;

/**
 * The data of one session in one request: the encoded entries as they are in the store (the baseline), and what the
 * request decoded or assigned. What changed is what encodes to another text than its baseline: exact, and free for
 * whatever nobody touched.
 */
export class TrackedEntries {
  #baseline: Map<string, string>;
  /** From the baseline; an object among them may have been changed in place. */
  readonly #decoded: Map<string, unknown> = new Map();
  readonly #assigned: Map<string, unknown> = new Map();
  readonly #removed: Set<string> = new Set();
  readonly #onCorrupt: () => void;

  /** `onCorrupt` is told when an entry turns out to be unreadable; it must `reset()`. */
  constructor(baseline: Entries | undefined, onCorrupt: () => void) {
    this.#baseline = new Map(baseline);
    this.#onCorrupt = onCorrupt;
  }

  get(key: string): unknown {
    if (this.#assigned.has(key)) return this.#assigned.get(key);
    if (this.#decoded.has(key)) return this.#decoded.get(key);
    if (this.#removed.has(key)) return undefined;
    const value = this.decode(this.#baseline.get(key));
    if (this.#baseline.has(key)) this.#decoded.set(key, value);
    return value;
  }

  has(key: string): boolean {
    return this.#assigned.has(key) || (this.#baseline.has(key) && !this.#removed.has(key));
  }

  set(key: string, value: unknown): void {
    checkStorable(key, value);
    this.#decoded.delete(key);
    this.#removed.delete(key);
    this.#assigned.set(key, value);
  }

  delete(key: string): void {
    this.#decoded.delete(key);
    this.#assigned.delete(key);
    this.#removed.add(key);
  }

  keys(): string[] {
    const keys: string[] = [];
    for (const key of this.#baseline.keys()) if (!this.#removed.has(key)) keys.push(key);
    for (const key of this.#assigned.keys()) if (!this.#baseline.has(key)) keys.push(key);
    return keys;
  }

  /** The entry's encoding in the store, as far as this request knows. */
  baseline(key: string): string | undefined {
    return this.#baseline.get(key);
  }

  /** The entry's encoding as the handler sees it. */
  text(key: string): string | undefined {
    if (this.#assigned.has(key)) return encode(this.#assigned.get(key), toUserKey(key));
    if (this.#removed.has(key)) return undefined;
    const decoded = this.#decoded.get(key);
    return isImmutable(decoded) ? this.#baseline.get(key) : encode(decoded, toUserKey(key));
  }

  /** The value of an encoding; a corrupt one makes the whole session an empty one. */
  decode(text: string | undefined): unknown {
    if (text === undefined) return undefined;
    try {
      return decode(text);
    } catch {
      this.#onCorrupt();
      return undefined;
    }
  }

  /** What differs from the baseline; `undefined` where nothing does. Throws a ValueError for what can't be stored. */
  changes(): EntryChanges | undefined {
    const set = new Map<string, string>();
    for (const [key, value] of this.#decoded) if (!isImmutable(value)) this.#compare(key, value, set);
    for (const [key, value] of this.#assigned) this.#compare(key, value, set);
    const removed = [...this.#removed].filter((key) => this.#baseline.has(key));
    return set.size > 0 || removed.length > 0 ? { set, delete: removed } : undefined;
  }

  /** Makes what is stored by now the baseline. What the handler changed meanwhile still differs from it. */
  settle(stored: EntryChanges): void {
    for (const [key, text] of stored.set) this.#baseline.set(key, text);
    for (const key of stored.delete) {
      this.#baseline.delete(key);
      this.#removed.delete(key);
    }
  }

  /**
   * The same for an entry that was stored past the handler. What he did to it since it was `before` is later than that,
   * and still to be stored; else he sees what is there now.
   */
  overwrite(key: string, text: string | undefined, before: string | undefined): void {
    const isLocal = this.#assigned.has(key) || this.#removed.has(key) || !isImmutable(this.#decoded.get(key));
    if (!isLocal || this.text(key) === before) {
      this.#decoded.delete(key);
      this.#assigned.delete(key);
      this.#removed.delete(key);
    }
    if (text === undefined) this.#baseline.delete(key);
    else this.#baseline.set(key, text);
  }

  /** All entries, encoded, with these changes in. */
  encoded(changes: EntryChanges | undefined): Map<string, string> {
    const entries = new Map(this.#baseline);
    for (const [key, text] of changes?.set ?? []) entries.set(key, text);
    for (const key of changes?.delete ?? []) entries.delete(key);
    return entries;
  }

  /** Forgets the stored entries: there is no record behind them any more. What was assigned stays. */
  reset(): void {
    this.#baseline = new Map();
    this.#decoded.clear();
    this.#removed.clear();
  }

  #compare(key: string, value: unknown, set: Map<string, string>): void {
    const text = encode(value, toUserKey(key));
    if (text !== this.#baseline.get(key)) set.set(key, text);
  }
}

/** What can be refused at the assignment, is, while the stack still shows where. */
export function checkStorable(key: string, value: unknown): void {
  if (!key.isWellFormed()) {
    const shown = JSON.stringify(key);
    throw new ValueError('session', `has a key with a lone surrogate (${shown}), which no store can hold.`);
  }
  if (typeof value === 'function' || typeof value === 'symbol') encode(value, toUserKey(key));
}

/*
 * Beside the user's keys, a session has entries of its own. They are merged, carried and expired like any other;
 * only their keys differ, by a NUL in front. A user's key that begins with a NUL gets a second one.
 */

/** This session's own lifetime in seconds, from `expireIn`. */
export const EXPIRE_KEY: string = '\0expire';

/** Whose session it is, and what its owner knows it by. */
export const OWNER_KEY: string = '\0owner';
export const LABEL_KEY: string = '\0label';

/** Of a session with an owner: when it was stored last, and until when the owner's index names it. */
export const UPDATED_KEY: string = '\0updated';
export const LISTED_KEY: string = '\0listed';

const FLASH_PREFIX = '\0flash:';

export function toFlashKey(key: string): string {
  return FLASH_PREFIX + key;
}

export function toEntryKey(key: string): string {
  return key.startsWith('\0') ? `\0${key}` : key;
}

export function isUserKey(entryKey: string): boolean {
  return !entryKey.startsWith('\0') || entryKey.startsWith('\0\0');
}

/** The key as the user knows it. */
export function toUserKey(entryKey: string): string {
  if (isUserKey(entryKey)) return entryKey.startsWith('\0') ? entryKey.slice(1) : entryKey;
  return entryKey.startsWith(FLASH_PREFIX)
    ? `flash(${entryKey.slice(FLASH_PREFIX.length)})`
    : entryKey.slice(1);
}
