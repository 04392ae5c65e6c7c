import { OptionError } from './errors.js';
import { type Instant, isWithin, now, RecentRecords } from './features/recent-records.js';
import { StoreDecorator } from './store/decorator.js';
import { checkOption, checkOptionNames, isPositive } from './store/options.js';
import { isRecord } from './store/record.js';
import type {
  Absent,
  Awaitable,
  Call,
  ChangeFeed,
  Changes,
  DestroyCall,
  Destroyed,
  SessionRecord,
  Store,
  Updated,
} from './store/store.js';

/** What `nearCache(store, options)` takes. */
export interface NearCacheOptions {
  /** How many sessions are kept. Default 10,000. */
  maxEntries?: number;
  /** How many bytes they may take, as estimated: two for each character, 100 for each key, 500 for each session. Default 64 MiB. */
  maxBytes?: number;
  /** Milliseconds by which a read may be behind, from 30 to 60,000. The store's feed is checked three times as often. Default 1000. */
  maxAge?: number;
}

/** A store behind a cache. */
export interface CachedStore extends Store {
  /** Ends the cache's timer and the feed of changes, and closes the store. */
  close(): Promise<void>;
}

/**
 * Keeps the sessions that were read last in this process, so that a request that only reads needs no round trip. The
 * store announces changes, so a cached read is rarely behind, and by at most `maxAge`. Writes never use the cache.
 *
 * ```ts
 * const store = nearCache(new RedisStore(redis));
 * app.use(session(store));
 * ```
 *
 * With encryption: `nearCache(encrypted(store, secrets))`. Call `store.close()` when the app ends.
 * @throws OptionError for an invalid or unknown option, and for a store that doesn't announce changes
 */
export function nearCache(store: Store, options: NearCacheOptions = {}): CachedStore {
  const { changes } = Object(store) as Partial<Store>;
  const expected = 'a store that announces changes, such as RedisStore with a client for one server or Sentinel';
  if (!changes) throw new OptionError('store of nearCache()', store, expected);
  checkOptionNames('nearCache()', options, ['maxEntries', 'maxBytes', 'maxAge']);
  const { maxEntries = 10_000, maxBytes = 64 * 2 ** 20, maxAge = 1000 } = options;
  checkOption('maxEntries', maxEntries, isPositive, 'a number over 0');
  checkOption('maxBytes', maxBytes, isPositive, 'a number over 0');
  checkOption('maxAge', maxAge, () => maxAge >= 30 && maxAge <= MAX_KEPT, 'milliseconds from 30 to 60,000');
  return new NearCache(store, changes, maxAge, new RecentRecords(maxEntries, maxBytes));
}

/** Milliseconds after which a record is loaded again: what a server removes by itself need not be announced. */
const MAX_KEPT = 60_000;

class NearCache extends StoreDecorator {
  override readonly wantsRevisions = true;
  readonly #feed: ChangeFeed;
  readonly #maxAge: number;
  readonly #records: RecentRecords;
  /** The first load in progress of each key, unless the key changed since it began. */
  readonly #loads: Map<string, object> = new Map();
  /** How many writes of each key are in progress. */
  readonly #writes: Map<string, number> = new Map();
  /** The feed has announced all changes before this instant; `undefined` after a gap. */
  #syncedAt: Instant | undefined;
  /** Another one after each gap. */
  #epoch: object = {};
  #stop: (() => Awaitable<void>) | undefined;
  #isClosed = false;

  constructor(store: Store, feed: ChangeFeed, maxAge: number, records: RecentRecords) {
    super(store);
    this.#feed = feed;
    this.#maxAge = maxAge;
    this.#records = records;
  }

  override load(key: string, call: Call): Awaitable<SessionRecord | Absent> {
    const recent = this.#records.get(key);
    if (!recent || !this.#isSynced || !isWithin(MAX_KEPT, recent.loadedAt)) return this.#load(key, call);
    const { record } = recent;
    const isKnown = call.atLeast !== undefined && call.atLeast <= record.revision;
    if (!isKnown || Date.now() >= record.expiresAt) return this.#load(key, call);
    this.#records.touch(key, recent);
    return record;
  }

  override update(key: string, changes: Changes, call: Call): Promise<Updated> {
    return this.#write(key, () => this.store.update(key, changes, call));
  }

  override destroy(key: string, call: DestroyCall): Promise<Destroyed> {
    return this.#write(key, () => this.store.destroy(key, call));
  }

  override async close(): Promise<void> {
    this.#isClosed = true;
    this.#clear();
    await this.#stop?.();
    await super.close();
  }

  /** Keeps a record only if nothing can have changed it since the load began. */
  async #load(key: string, call: Call): Promise<SessionRecord | Absent> {
    if (!this.#stop && !this.#isClosed) this.#start();
    const load = {};
    const loadedAt = now();
    if (!this.#loads.has(key) && !this.#writes.has(key)) this.#loads.set(key, load);
    try {
      const record = await this.store.load(key, call);
      if (this.#loads.get(key) === load && isRecord(record)) this.#records.set(key, { record, loadedAt });
      return record;
    } finally {
      if (this.#loads.get(key) === load) this.#loads.delete(key);
    }
  }

  /** From before the write is sent until it is answered, failed or timed out, the key has no record in the cache. */
  async #write<T>(key: string, write: () => Awaitable<T>): Promise<T> {
    this.#writes.set(key, (this.#writes.get(key) ?? 0) + 1);
    this.#drop(key);
    try {
      return await write();
    } finally {
      const left = (this.#writes.get(key) ?? 1) - 1;
      if (left > 0) this.#writes.set(key, left);
      else this.#writes.delete(key);
    }
  }

  #drop(key: string): void {
    this.#loads.delete(key);
    this.#records.delete(key);
  }

  #clear(): void {
    this.#epoch = {};
    this.#syncedAt = undefined;
    this.#loads.clear();
    this.#records.clear();
  }

  get #isSynced(): boolean {
    return this.#syncedAt !== undefined && isWithin(this.#maxAge, this.#syncedAt);
  }

  #start(): void {
    const unsubscribe = this.#feed.subscribe({ changed: (key) => this.#drop(key), gap: () => this.#clear() });
    const timer = setInterval(() => void this.#sync(), this.#maxAge / 3).unref();
    this.#stop = () => {
      clearInterval(timer);
      return unsubscribe();
    };
    void this.#sync();
  }

  /** Without an answer, or with one from before a gap, the records aren't used any longer than they were to be. */
  async #sync(): Promise<void> {
    const [epoch, startedAt] = [this.#epoch, now()];
    try {
      await this.#feed.sync();
    } catch {
      return;
    }
    const isLater = !this.#syncedAt || this.#syncedAt.steady < startedAt.steady;
    if (epoch === this.#epoch && isLater) this.#syncedAt = startedAt;
  }
}
