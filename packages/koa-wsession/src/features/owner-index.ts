import { AUTHENTICATED_KEY } from '../kernel/entries.js';
import { addressOf } from '../kernel/token.js';
import { StoreDecorator } from '../store/decorator.js';
import type {
  Awaitable,
  Call,
  Changes,
  Created,
  DestroyCall,
  Destroyed,
  Entries,
  SessionIndex,
  SessionRecord,
  Store,
  Updated,
} from '../store/store.js';
import { DEVICE_ID_KEY } from './device-binding.js';

/** Whose session it is, an encoded string; set when the record is created, and never changed. */
export const OWNER_KEY: string = '\0owner';

/** The identity provider's name of the session, an encoded string; as the owner. */
export const SID_KEY: string = '\0sid';

/** The entries by which sessions can be found. A session without any of them is in no group. */
const FINDER_KEYS = [OWNER_KEY, SID_KEY, DEVICE_ID_KEY];

/** What sessions can be found by: an entry, and what it has to hold. */
export interface Finder {
  readonly key: string;
  readonly text: string;
}

/** The group, in the store's index, of the sessions that hold this. */
export function groupOf(name: string, { key, text }: Finder): string {
  return addressOf(name, `${key}:${text}`);
}

/** What `revokeUntil` needs to know about a session: its groups, and when its owner logged in, or else when it was created. */
export function standingOf(
  name: string,
  { entries, createdAt }: Pick<SessionRecord, 'entries' | 'createdAt'>,
): { readonly groups: readonly string[]; readonly since: number } {
  return { groups: groupsOf(name, entries), since: Number(entries.get(AUTHENTICATED_KEY) ?? createdAt) };
}

/** The groups of a session with these entries. That of its device also where this process binds none: others may. */
function groupsOf(name: string, entries: Entries): string[] {
  const groups: string[] = [];
  for (const key of FINDER_KEYS) {
    const text = entries.get(key);
    if (text !== undefined) groups.push(groupOf(name, { key, text }));
  }
  return groups;
}

function isGrouped(entries: Entries): boolean {
  for (const key of FINDER_KEYS) if (entries.has(key)) return true;
  return false;
}

/**
 * A store that keeps its index in step with its records: a session is in its groups before it is in the
 * store, and leaves them after it has ended. So the index may name ended sessions, but never misses a live one.
 */
export function indexed(store: Store): Store {
  return store.index ? new IndexedStore(store) : store;
}

class IndexedStore extends StoreDecorator {
  declare readonly index: SessionIndex;

  override create(key: string, record: SessionRecord, call: Call): Awaitable<Created> {
    const groups = groupsOf(call.name, record.entries);
    if (groups.length === 0) return this.store.create(key, record, call);
    const until = listedUntil(record.updatedAt, record.expiresAt);
    return this.#add(groups, key, until, call).then(() => this.store.create(key, record, call));
  }

  override update(key: string, changes: Changes, call: Call): Awaitable<Updated> {
    const { known, expiresAt, updatedAt } = changes;
    const mayMove = known && expiresAt !== undefined && isGrouped(known.entries);
    if (!mayMove) return this.store.update(key, changes, call);
    const until = listedUntil(updatedAt, expiresAt);
    if (until === listedUntil(known.updatedAt, known.expiresAt)) return this.store.update(key, changes, call);
    const groups = groupsOf(call.name, known.entries);
    return this.#add(groups, key, until, call).then(() => this.store.update(key, changes, call));
  }

  override async destroy(key: string, call: DestroyCall): Promise<Destroyed> {
    const answer = await this.store.destroy(key, call);
    if (answer.outcome === 'destroyed') await this.#remove(groupsOf(call.name, answer.record.entries), key, call);
    return answer;
  }

  async #add(groups: readonly string[], key: string, until: number, call: Call): Promise<void> {
    for (const group of groups) await this.index.add(group, key, until, call);
  }

  /** The session has ended, whether the index forgets it now or when its instant comes. */
  async #remove(groups: readonly string[], key: string, call: Call): Promise<void> {
    try {
      for (const group of groups) await this.index.remove(group, key, call);
    } catch {}
  }
}

/**
 * When a session's entry in the index expires: at least one lifetime after the session, so that most renewals needn't touch
 * the index. The instant is a multiple of the lifetime, which is rounded up to a power of two, so that it can be computed
 * again from `updatedAt` and `expiresAt` alone.
 */
function listedUntil(updatedAt: number, expiresAt: number): number {
  const grid = 2 ** Math.ceil(Math.log2(Math.max(expiresAt - updatedAt, 1000)));
  return (Math.floor(expiresAt / grid) + 2) * grid;
}
