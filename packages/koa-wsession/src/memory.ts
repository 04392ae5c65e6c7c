import { checkStoreOptions, type StoreOptions } from './options.js';
import { applyChanges, findConflict } from './record.js';
import type { Capabilities, Changes, Created, OwnerIndex, SessionRecord, Store, Updated } from './store.js';

/**
 * Sessions in the memory of one process: for tests, for trying things out, and as the shortest honest example of the
 * contract for whoever writes a store. They are gone with the process and unknown to any other, so it refuses to be
 * constructed where `NODE_ENV` is `production`.
 */
export class MemoryStore implements Store {
  readonly expire: number;
  readonly secure: boolean;
  readonly domain: string | undefined;
  readonly capabilities: Capabilities = { seals: false, merges: true, revokes: true };
  readonly #records: Map<string, SessionRecord> = new Map();
  readonly #owned: Map<string, Map<string, number>> = new Map();
  #pruneAt = 1000;

  /** @throws OptionError, and an Error in production */
  constructor(options: StoreOptions = {}) {
    if (process.env.NODE_ENV === 'production') {
      throw new Error(
        'MemoryStore is for tests and trials, and refuses NODE_ENV=production: use the file, Redis or cookie store.',
      );
    }
    ({
      expire: this.expire,
      secure: this.secure,
      domain: this.domain,
    } = checkStoreOptions('MemoryStore', options));
  }

  load(key: string): SessionRecord | undefined {
    const record = this.#records.get(key);
    return record && Date.now() < record.expiresAt ? record : undefined;
  }

  create(key: string, record: SessionRecord): Created {
    if (this.load(key)) return { outcome: 'exists' };
    if (this.#records.size >= this.#pruneAt) this.#prune();
    this.#records.set(key, { ...record, entries: new Map(record.entries) });
    return { outcome: 'created' };
  }

  update(key: string, changes: Changes): Updated {
    const record = this.load(key);
    if (!record) return { outcome: 'gone' };
    const conflict = findConflict(record, changes);
    if (conflict) return conflict;
    this.#records.set(key, applyChanges(record, changes));
    return { outcome: 'updated' };
  }

  destroy(key: string): SessionRecord | undefined {
    const record = this.load(key);
    this.#records.delete(key);
    return record;
  }

  /** An owner's sessions, each with the instant until which it is named. */
  readonly owners: OwnerIndex = {
    add: (owner, key, until) => {
      const named = this.#owned.get(owner) ?? new Map<string, number>();
      named.set(key, Math.max(until, named.get(key) ?? 0));
      this.#owned.set(owner, named);
    },
    remove: (owner, key) => {
      this.#owned.get(owner)?.delete(key);
    },
    keys: (owner) => {
      const named = this.#owned.get(owner) ?? new Map<string, number>();
      for (const [key, until] of named) if (until <= Date.now()) named.delete(key);
      return [...named.keys()];
    },
  };

  /** Abandoned sessions go when the number has doubled since the last look: little work, and bounded memory. */
  #prune(): void {
    for (const key of this.#records.keys()) if (!this.load(key)) this.#records.delete(key);
    for (const [owner, named] of this.#owned)
      if (Math.max(0, ...named.values()) <= Date.now()) this.#owned.delete(owner);
    this.#pruneAt = Math.max(1000, this.#records.size * 2);
  }
}
