import { ChangeTracker, type TrackerWatcher } from './change-tracker.js';
import type { EncodeOptions } from './codec.js';
import { type Found, Loaded } from './token-store.js';

/** What is to be known about a session's state. */
export interface StateWatcher {
  /** The data may be changed from here on. */
  onMayDiffer(): void;
  /** The record under this key turned out to be unreadable. */
  onUnreadable(key: string): void;
}

/** One session in one request: its data, and the record behind it. Once it ends, the request gets another. */
export class SessionState implements TrackerWatcher {
  readonly tracker: ChangeTracker;
  /** `undefined` while there is no record. */
  loaded: Loaded | undefined;
  /** The record that turned out to be unreadable: its visitor is an anonymous one. */
  unreadable: Loaded | undefined;
  /** The keys of further sessions that the visitor's tokens lead to; they end with this one. */
  readonly others: readonly string[];
  /** The request came with the id of a session that goes on under another one, whose key this is. */
  replacedBy: string | undefined;
  /** The record was made by this request. */
  isMadeHere: boolean = false;
  /** `due`: the expiry is to be reset even if nothing else changed. */
  renewal: 'none' | 'due' | 'done' = 'none';
  /** When the visitor was last sent the token that it came with, in `performance.now()` milliseconds. */
  resentAt: number = Number.POSITIVE_INFINITY;
  readonly #watcher: StateWatcher;

  constructor(found: Found, encoding: EncodeOptions, watcher: StateWatcher) {
    this.#watcher = watcher;
    if (found instanceof Loaded) this.loaded = found;
    else this.replacedBy = found?.by;
    this.others = this.loaded?.others ?? [];
    this.tracker = new ChangeTracker(this.loaded?.entries, encoding, this);
  }

  onMayDiffer(): void {
    this.#watcher.onMayDiffer();
  }

  onCorrupt(): void {
    this.unreadable = this.loaded;
    this.loaded = undefined;
    this.tracker.reset();
    if (this.unreadable) this.#watcher.onUnreadable(this.unreadable.key);
  }
}
