import { ValueError } from '../errors.js';
import type { Entries } from '../store/store.js';
import { assertStorable, decode, type EncodeOptions, encode, isImmutable } from './codec.js';
import { applyTo, type EntryChanges, toUserKey } from './entries.js';

/**
 * The data of one session in one request: the encoded entries as they are in the store, and what the request decoded,
 * assigned or removed. An entry changed if it encodes to another text than the stored one: exact, and free for entries
 * that the request didn't touch.
 */
export class ChangeTracker {
  /** As they were stored before `#saved`: the store's own map, or a copy. */
  #before: Entries;
  /** What was stored since, and isn't in the map yet: it takes a copy of all entries, which most requests don't need any more. */
  #saved: EntryChanges | undefined;
  /** What the request decoded, assigned or removed, in that order. */
  readonly #local: Map<string, Local> = new Map();
  readonly #encoding: EncodeOptions;
  readonly #watcher: TrackerWatcher;

  constructor(stored: Entries | undefined, encoding: EncodeOptions, watcher: TrackerWatcher) {
    this.#before = stored ?? NONE;
    this.#encoding = encoding;
    this.#watcher = watcher;
  }

  get(key: string): unknown {
    const local = this.#local.get(key);
    if (local) return local.value;
    const text = this.stored.get(key);
    if (text === undefined) return undefined;
    const value = this.decode(text);
    if (!isImmutable(value)) this.#watcher.onMayDiffer();
    if (this.stored.has(key)) this.#local.set(key, { how: 'decoded', value });
    return value;
  }

  has(key: string): boolean {
    const local = this.#local.get(key);
    return local ? local !== REMOVED : this.stored.has(key);
  }

  /** @throws ValueError at once for what can't be stored in any case, so that the stack trace shows the caller */
  set(key: string, value: unknown): void {
    this.#assertStorable(key, value);
    this.#watcher.onMayDiffer();
    if (this.#local.get(key) === REMOVED) this.#local.delete(key); // a new key comes last
    this.#local.set(key, { how: 'assigned', value });
  }

  delete(key: string): void {
    this.#watcher.onMayDiffer();
    this.#local.set(key, REMOVED);
  }

  /** Puts these values in place of all whose key `isMeant`; or throws, and changes nothing. */
  replaceWhere(isMeant: (key: string) => boolean, values: ReadonlyMap<string, unknown>): void {
    for (const [key, value] of values) this.#assertStorable(key, value);
    for (const key of this.keys()) if (isMeant(key)) this.delete(key);
    for (const [key, value] of values) this.set(key, value);
  }

  keys(): string[] {
    const keys: string[] = [];
    for (const key of this.stored.keys()) if (this.#local.get(key) !== REMOVED) keys.push(key);
    for (const [key, local] of this.#local) if (local !== REMOVED && !this.stored.has(key)) keys.push(key);
    return keys;
  }

  /** All entries as they are in the store, as far as this request knows. */
  get stored(): Entries {
    if (this.#saved) this.#before = applyTo(this.#before, this.#saved);
    this.#saved = undefined;
    return this.#before;
  }

  /** The entry's encoding as the handler sees it. */
  text(key: string): string | undefined {
    const local = this.#local.get(key);
    if (!local || isAsLoaded(local)) return this.stored.get(key);
    return local === REMOVED ? undefined : this.#encode(key, local.value);
  }

  /** The value of an encoding. A corrupt one makes the whole session an empty one. */
  decode(text: string | undefined): unknown {
    if (text === undefined) return undefined;
    try {
      return decode(text);
    } catch {
      this.#watcher.onCorrupt();
      return undefined;
    }
  }

  /** Whether anything can differ from what is stored: whether the request did more than read immutable values. */
  get mayDiffer(): boolean {
    for (const local of this.#local.values()) if (!isAsLoaded(local)) return true;
    return false;
  }

  /** What differs from what is stored; `undefined` where nothing does. Throws a ValueError for what can't be stored. */
  changes(): EntryChanges | undefined {
    const set = new Map<string, string>();
    const removed: string[] = [];
    for (const [key, local] of this.#local) {
      if (isAsLoaded(local)) continue;
      const text = local === REMOVED ? undefined : this.#encode(key, local.value);
      if (text === this.stored.get(key)) continue;
      if (text === undefined) removed.push(key);
      else set.set(key, text);
    }
    return set.size > 0 || removed.length > 0 ? { set, delete: removed } : undefined;
  }

  /** All entries as the handler sees them; of those that were loaded, only the keys that `keeps` says. */
  snapshot(keeps: (key: string) => boolean = () => true): Map<string, string> {
    const entries = new Map<string, string>();
    for (const [key, text] of this.stored) if (keeps(key)) entries.set(key, text);
    for (const [key, local] of this.#local) {
      if (local === REMOVED) entries.delete(key);
      else if (local.how === 'assigned' || (keeps(key) && !isAsLoaded(local)))
        entries.set(key, this.#encode(key, local.value));
    }
    return entries;
  }

  /** Records that these changes are stored by now. What the handler changed meanwhile still differs. */
  markSaved(changes: EntryChanges): void {
    this.#before = this.stored;
    this.#saved = changes;
  }

  /** Records that another record with these entries is behind the session by now; loaded values that it lacks are forgotten. */
  replaceStored(entries: Entries): void {
    for (const [key, { how }] of this.#local) if (how === 'decoded' && !entries.has(key)) this.#local.delete(key);
    this.#setStored(entries);
  }

  /** Records one entry's stored text. Keeps the handler's changes since the text was `before`; otherwise shows the stored value. */
  refresh(key: string, text: string | undefined, before: string | undefined): void {
    const local = this.#local.get(key);
    if (local && (isAsLoaded(local) || this.text(key) === before)) this.#local.delete(key);
    if (text === this.stored.get(key)) return;
    this.markSaved(text === undefined ? { set: NONE, delete: [key] } : { set: new Map([[key, text]]), delete: [] });
  }

  /** Forgets the stored entries: there is no record behind them any more. What was assigned stays, unless stored and `isUnique`. */
  reset(isUnique: (key: string) => boolean = () => false): void {
    for (const [key, { how }] of this.#local)
      if (how !== 'assigned' || (this.stored.has(key) && isUnique(key))) this.#local.delete(key);
    this.#setStored(NONE);
  }

  #setStored(entries: Entries): void {
    this.#before = entries;
    this.#saved = undefined;
  }

  #assertStorable(key: string, value: unknown): void {
    assertKey(key);
    assertStorable(value, toUserKey(key), this.#encoding);
  }

  #encode(key: string, value: unknown): string {
    return encode(value, toUserKey(key), this.#encoding);
  }
}

/** Throws a ValueError for a key that can't be stored. */
export function assertKey(key: string): void {
  if (key.isWellFormed()) return;
  const shown = JSON.stringify(toUserKey(key));
  throw new ValueError('session', `has a key with a lone surrogate (${shown}), which no store can hold.`);
}

/** What is to be known about a tracker's entries. */
export interface TrackerWatcher {
  /** An entry may be changed from here on. */
  onMayDiffer(): void;
  /** An entry turned out to be unreadable. It must call `reset()`. */
  onCorrupt(): void;
}

/** An entry as the request has it. One that was decoded and is an object may have been changed in place. */
interface Local {
  readonly how: 'decoded' | 'assigned' | 'removed';
  readonly value: unknown;
}

const REMOVED: Local = { how: 'removed', value: undefined };

const NONE: Entries = new Map();

/** Whether an entry is certain to be as it is stored. */
function isAsLoaded({ how, value }: Local): boolean {
  return how === 'decoded' && isImmutable(value);
}
