import { checkStoreOptions, type StoreOptions } from './store/options.js';
import { applyChanges, findConflict, isRecord, isReplacement, noneToDestroy } from './store/record.js';
import type {
  Absent,
  Capabilities,
  Changes,
  Created,
  DestroyCall,
  Destroyed,
  Replacement,
  SessionIndex,
  SessionRecord,
  Store,
  Updated,
} from './store/store.js';

/**
 * Sessions in the memory of one process: for tests, for trying things out, and as the shortest honest example of the
 * contract for authors of stores. They end with the process and no other process sees them, so the constructor refuses
 * `NODE_ENV=production`.
 */
export class MemoryStore implements Store {
  readonly expire: number;
  readonly secure: boolean;
  readonly domain: string | undefined;
  readonly capabilities: Capabilities = { seals: false, merges: true, revokes: true };
  readonly #records: Map<string, SessionRecord | Replacement> = new Map();
  readonly #groups: Map<string, Map<string, number>> = new Map();
  #pruneAt = 1000;

  /** @throws OptionError, and an Error in production */
  constructor(options: StoreOptions = {}) {
    if (process.env.NODE_ENV === 'production') {
      throw new Error(
        'MemoryStore is for tests and trials, and refuses NODE_ENV=production: use the file, Redis or cookie store.',
      );
    }
    ({ expire: this.expire, secure: this.secure, domain: this.domain } = checkStoreOptions('MemoryStore', options));
  }

  load(key: string): SessionRecord | Absent {
    const found = this.#records.get(key);
    return found && Date.now() < (isReplacement(found) ? found.until : found.expiresAt) ? found : undefined;
  }

  create(key: string, record: SessionRecord): Created {
    if (this.load(key)) return { outcome: 'exists' };
    if (this.#records.size >= this.#pruneAt) this.#prune();
    this.#records.set(key, { ...record, entries: new Map(record.entries) });
    return { outcome: 'created' };
  }

  update(key: string, changes: Changes): Updated {
    const record = this.load(key);
    if (!isRecord(record)) return { outcome: 'gone' };
    const conflict = findConflict(record, changes);
    if (conflict) return conflict;
    const changed = applyChanges(record, changes);
    this.#records.set(key, changed);
    return { outcome: 'updated', revision: changed.revision };
  }

  destroy(key: string, { replaced, revision }: DestroyCall): Destroyed {
    const record = this.load(key);
    if (!isRecord(record)) return noneToDestroy(record);
    if (revision !== undefined && revision !== record.revision) return { outcome: 'changed', record };
    if (replaced) this.#records.set(key, replaced);
    else this.#records.delete(key);
    return { outcome: 'destroyed', record };
  }

  async *scan(): AsyncIterable<readonly string[]> {
    yield [...this.#records.keys()];
  }

  readonly index: SessionIndex = {
    add: (group, key, until, { limit = Number.POSITIVE_INFINITY }) => {
      const listed = this.#list(group);
      const before = listed.get(key);
      if (before === undefined && listed.size >= limit) return false;
      this.#groups.set(group, listed.set(key, Math.max(until, before ?? 0)));
      return true;
    },
    remove: (group, key) => {
      this.#groups.get(group)?.delete(key);
    },
    keys: (group) => [...this.#list(group).keys()],
  };

  /** The sessions of a group, each with its instant. */
  #list(group: string): Map<string, number> {
    const listed = this.#groups.get(group) ?? new Map<string, number>();
    for (const [key, until] of listed) if (until <= Date.now()) listed.delete(key);
    return listed;
  }

  /** Removes what expired once the number of records has doubled: little work, and bounded memory. */
  #prune(): void {
    for (const key of this.#records.keys()) if (this.load(key) === undefined) this.#records.delete(key);
    for (const group of this.#groups.keys()) if (this.#list(group).size === 0) this.#groups.delete(group);
    this.#pruneAt = Math.max(1000, this.#records.size * 2);
  }
}
