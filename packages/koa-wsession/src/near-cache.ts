import { OptionError } from './errors.js';
import { type Instant, isWithin, now, RecentRecords } from './recent-records.js';
import { StoreDecorator } from './store/decorator.js';
import { checkOption, checkOptionNames, isPositive } from './store/options.js';
import { applyChanges, isRecord } from './store/record.js';
import type {
  Absent,
  Awaitable,
  Call,
  ChangeFeed,
  Changes,
  Created,
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

/** Of one key, from when the first of them begins until the last of them ends. */
interface Writes {
  begun: number;
  left: number;
  /** How often the feed announced the key meanwhile. */
  announced: number;
}

class NearCache extends StoreDecorator {
  override readonly wantsRevisions = true;
  readonly #feed: ChangeFeed;
  readonly #maxAge: number;
  readonly #records: RecentRecords;
  /** The first load in progress of each key, unless the key changed since it began. */
  readonly #loads: Map<string, object> = new Map();
  /** The writes of each key that are in progress. */
  readonly #writes: Map<string, Writes> = new Map();
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
    const at = now();
    if (!recent || !this.#syncedAt || !isWithin(this.#maxAge, this.#syncedAt, at)) return this.#load(key, call);
    const { record } = recent;
    const isKnown = call.atLeast !== undefined && call.atLeast <= (record?.revision ?? 0);
    const isLive = isWithin(recent.kept, recent.knownAt, at) && (!record || at.wall < record.expiresAt);
    recent.isUsed = true;
    return isKnown && isLive ? record : this.#load(key, call);
  }

  override create(key: string, record: SessionRecord, call: Call): Promise<Created> {
    return this.#write(key, () => this.store.create(key, record, call));
  }

  override update(key: string, changes: Changes, call: Call): Promise<Updated> {
    const before = this.#records.get(key)?.record;
    const toRecord = (answer: Updated): SessionRecord | undefined => {
      if (!before || answer.outcome !== 'updated' || answer.revision !== before.revision + 1) return undefined;
      return applyChanges(before, changes); // no other write came in between
    };
    return this.#write(key, () => this.store.update(key, changes, call), toRecord);
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
    const knownAt = now();
    if (!this.#loads.has(key) && !this.#writes.has(key)) this.#loads.set(key, load);
    try {
      const record = await this.store.load(key, call);
      const isAbsent = record === undefined && call.atLeast === 0;
      if (this.#loads.get(key) === load && (isRecord(record) || isAbsent))
        this.#records.set(key, { record, knownAt, kept: MAX_KEPT, announcements: 0, isUsed: false });
      return record;
    } finally {
      if (this.#loads.get(key) === load) this.#loads.delete(key);
    }
  }

  /**
   * From before the write is sent until it is answered, failed or timed out, the key has no record in the cache.
   *
   * After that, it has the record that the write made, where that is known: for `maxAge` from when the write was sent. The
   * feed doesn't say which write it announces. So one announcement may be taken for that of this write although a later
   * write came, too: then the record is outdated, for at most `maxAge`.
   */
  async #write<T>(
    key: string,
    write: () => Awaitable<T>,
    toRecord?: (answer: T) => SessionRecord | undefined,
  ): Promise<T> {
    const writes = this.#writes.get(key) ?? { begun: 0, left: 0, announced: 0 };
    const [epoch, knownAt] = [this.#epoch, now()];
    writes.begun++;
    writes.left++;
    this.#writes.set(key, writes);
    this.#drop(key);
    try {
      const answer = await write();
      const record = toRecord?.(answer);
      const announcements = 1 - writes.announced;
      if (record && writes.begun === 1 && announcements >= 0 && epoch === this.#epoch)
        this.#records.set(key, { record, knownAt, kept: this.#maxAge, announcements, isUsed: false });
      return answer;
    } finally {
      writes.left--;
      if (writes.left === 0) this.#writes.delete(key);
    }
  }

  #drop(key: string): void {
    this.#loads.delete(key);
    this.#records.delete(key);
  }

  #changed(key: string): void {
    const [writes, recent] = [this.#writes.get(key), this.#records.get(key)];
    if (writes) writes.announced++;
    this.#loads.delete(key);
    if (recent && recent.announcements > 0) recent.announcements--;
    else this.#records.delete(key);
  }

  #gap(): void {
    this.#clear();
    void this.#sync(); // there may be a connection again
  }

  #clear(): void {
    this.#epoch = {};
    this.#syncedAt = undefined;
    this.#loads.clear();
    this.#records.clear();
  }

  #start(): void {
    const unsubscribe = this.#feed.subscribe({ changed: (key) => this.#changed(key), gap: () => this.#gap() });
    const timer = setInterval(() => void this.#sync(), this.#maxAge / 3).unref();
    const stop = (): Awaitable<void> => {
      clearInterval(timer);
      return unsubscribe();
    };
    this.#stop = stop;
    void this.#sync();
  }

  /** If it fails, or is answered from before a gap, `#syncedAt` stays: the records are used until `maxAge` after the last sync. */
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
