import { decode, encode, isImmutable } from './codec.js';
import { ValueError } from './errors.js';
import type { Changes, Entries } from './store.js';

/** What a request changed, key by key. */
export type EntryChanges = Pick<Changes, 'set' | 'delete'>;

/**
 * The data of one session in one request: the encoded entries as they are in the store (the baseline), and what the
 * request decoded, assigned or removed. What changed is what encodes to another text than its baseline: exact, and free
 * for whatever nobody touched.
 */
export class TrackedEntries {
  /** The store's own, until it has to change: then it is copied. */
  #baseline: Entries;
  /** What the request looked at or did, by key, in the order in which it did so. */
  readonly #local: Map<string, Local> = new Map();
  readonly #onCorrupt: () => void;

  /** `onCorrupt` is told when an entry turns out to be unreadable; it must `reset()`. */
  constructor(baseline: Entries | undefined, onCorrupt: () => void) {
    this.#baseline = baseline ?? NONE;
    this.#onCorrupt = onCorrupt;
  }

  get(key: string): unknown {
    const local = this.#local.get(key);
    if (local) return local.value;
    const value = this.decode(this.#baseline.get(key));
    if (this.#baseline.has(key)) this.#local.set(key, { how: 'decoded', value });
    return value;
  }

  has(key: string): boolean {
    const local = this.#local.get(key);
    return local ? local !== REMOVED : this.#baseline.has(key);
  }

  set(key: string, value: unknown): void {
    checkStorable(key, value);
    if (this.#local.get(key)?.how !== 'assigned') this.#local.delete(key); // a new key comes last
    this.#local.set(key, { how: 'assigned', value });
  }

  delete(key: string): void {
    this.#local.set(key, REMOVED);
  }

  keys(): string[] {
    const keys: string[] = [];
    for (const key of this.#baseline.keys()) if (this.#local.get(key) !== REMOVED) keys.push(key);
    for (const [key, { how }] of this.#local)
      if (how === 'assigned' && !this.#baseline.has(key)) keys.push(key);
    return keys;
  }

  /** The entry's encoding in the store, as far as this request knows. */
  baseline(key: string): string | undefined {
    return this.#baseline.get(key);
  }

  /** The entry's encoding as the handler sees it. */
  text(key: string): string | undefined {
    const local = this.#local.get(key);
    if (!local || isAsLoaded(local)) return this.#baseline.get(key);
    return local === REMOVED ? undefined : encode(local.value, toUserKey(key));
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

  /** Whether anything can differ from the baseline: whether the request did more than look at what can't change. */
  get mayDiffer(): boolean {
    for (const local of this.#local.values()) if (!isAsLoaded(local)) return true;
    return false;
  }

  /** What differs from the baseline; `undefined` where nothing does. Throws a ValueError for what can't be stored. */
  changes(): EntryChanges | undefined {
    const set = new Map<string, string>();
    const removed: string[] = [];
    for (const [key, local] of this.#local) {
      if (isAsLoaded(local)) continue;
      const before = this.#baseline.get(key);
      const text = local === REMOVED ? undefined : encode(local.value, toUserKey(key));
      if (text === before) continue;
      if (text === undefined) removed.push(key);
      else set.set(key, text);
    }
    return set.size > 0 || removed.length > 0 ? { set, delete: removed } : undefined;
  }

  /** Makes what is stored by now the baseline. What the handler changed meanwhile still differs from it. */
  settle(stored: EntryChanges): void {
    this.#baseline = this.encoded(stored);
  }

  /**
   * The same for an entry that was stored past the handler. What he did to it since it was `before` is later than that,
   * and still to be stored; else he sees what is there now.
   */
  overwrite(key: string, text: string | undefined, before: string | undefined): void {
    const local = this.#local.get(key);
    if (local && (isAsLoaded(local) || this.text(key) === before)) this.#local.delete(key);
    if (text === this.#baseline.get(key)) return; // settled already
    this.#baseline = this.encoded(
      text === undefined ? { set: NONE, delete: [key] } : { set: new Map([[key, text]]), delete: [] },
    );
  }

  /** All entries, encoded, with these changes in. */
  encoded(changes: EntryChanges | undefined): Entries {
    if (!changes) return this.#baseline;
    const entries = new Map(this.#baseline);
    for (const [key, text] of changes.set) entries.set(key, text);
    for (const key of changes.delete) entries.delete(key);
    return entries;
  }

  /** Forgets the stored entries: there is no record behind them any more. What was assigned stays. */
  reset(): void {
    this.#baseline = NONE;
    for (const [key, { how }] of this.#local) if (how !== 'assigned') this.#local.delete(key);
  }
}

/** An entry as the request has it. One that was decoded and is an object may have been changed in place. */
interface Local {
  readonly how: 'decoded' | 'assigned' | 'removed';
  readonly value: unknown;
}

const REMOVED: Local = { how: 'removed', value: undefined };

const NONE: Entries = new Map();

/** Whether an entry is sure to be what its baseline says. */
function isAsLoaded({ how, value }: Local): boolean {
  return how === 'decoded' && isImmutable(value);
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
