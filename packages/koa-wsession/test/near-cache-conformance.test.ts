import { expect } from 'chai';
import { conformance } from 'koa-wsession/conformance';
import { encrypted } from 'koa-wsession/encrypted';
import { MemoryStore } from 'koa-wsession/memory';
import { nearCache } from 'koa-wsession/near-cache';
import type { Call, ChangeFeed, ChangeListener, Changes, DestroyCall, SessionRecord, Store } from 'koa-wsession/store';

/** Announces each change at once, so that nothing that is read may be behind. */
class AnnouncingStore extends MemoryStore {
  readonly #listeners = new Set<ChangeListener>();
  readonly changes: ChangeFeed = {
    subscribe: (listener) => {
      this.#listeners.add(listener);
      return () => void this.#listeners.delete(listener);
    },
    sync: async () => undefined,
  };

  override load(key: string, call?: Call) {
    assertInTime(call);
    return super.load(key);
  }

  override create(key: string, record: SessionRecord, call?: Call) {
    assertInTime(call);
    const answer = super.create(key, record);
    this.#announce(key);
    return answer;
  }

  override update(key: string, changes: Changes, call?: Call) {
    assertInTime(call);
    const answer = super.update(key, changes);
    this.#announce(key);
    return answer;
  }

  override destroy(key: string, call: DestroyCall) {
    assertInTime(call);
    const answer = super.destroy(key, call);
    this.#announce(key);
    return answer;
  }

  #announce(key: string): void {
    for (const listener of this.#listeners) listener.changed(key);
  }
}

/** Through the cache, calls are not synchronous, and so not to begin after the deadline. */
function assertInTime(call: Call | undefined): void {
  if (call && performance.now() > call.deadline) throw new Error('the time was up');
}

/**
 * As many caches as processes, over one store; each call is for the next of them. Every load may be a hit, though its token
 * proves nothing: the suite has to pass in any case.
 */
function cached(processes: number, store: Store): Store {
  const caches = Array.from({ length: processes }, () => nearCache(store));
  const load = caches.map((cache) => (key: string, call: Call) => cache.load(key, { ...call, atLeast: 0 }));
  let turn = 0;
  return new Proxy(caches[0] as Store, {
    get(_, member: keyof Store) {
      const at = turn++ % processes;
      if (member === 'load') return load[at];
      if (member === 'close') return () => Promise.all(caches.map((cache) => cache.close?.()));
      const value = (caches[at] as Store)[member];
      return typeof value === 'function' ? value.bind(caches[at]) : value;
    },
  });
}

const SECRET = 'secret '.repeat(6);

for (const [name, processes, wrap] of [
  ['nearCache(MemoryStore), one cache', 1, (store: Store) => store],
  ['nearCache(MemoryStore), two caches', 2, (store: Store) => store],
  ['nearCache(encrypted(MemoryStore)), two caches', 2, (store: Store) => encrypted(store, SECRET)],
] as const)
  conformance(
    { describe, it, afterEach },
    {
      name,
      create: (options) => cached(processes, wrap(new AnnouncingStore(options))),
      capabilities: { seals: false, merges: true, revokes: true },
      isolated: true,
    },
  );

describe('nearCache(encrypted(store))', () => {
  it('decrypts once for several reads, and keeps what is stored encrypted', async () => {
    const store = new AnnouncingStore();
    const near = nearCache(encrypted(store, SECRET));
    const call = { name: 'n', deadline: Number.POSITIVE_INFINITY, atLeast: 1 };
    const [key, now] = ['k'.repeat(43), Date.now()];
    const entries = new Map([['a', 'plain text']]);
    await near.create(key, { entries, createdAt: now, updatedAt: now, expiresAt: now + 3.6e6, revision: 1 }, call);
    const loaded = await near.load(key, call);
    expect(near.load(key, call)).to.equal(loaded);
    expect(loaded).to.deep.include({ entries });

    const set = new Map([['b', 'more text']]);
    await near.update(key, { set, delete: [], updatedAt: now, expiresAt: undefined }, call);
    expect(near.load(key, { ...call, atLeast: 2 })).to.deep.include({ entries: new Map([...entries, ...set]) });
    for (const value of (store.load(key) as SessionRecord).entries.values()) expect(value).not.to.contain('text');
    // Values that the cache holds are compared with those that are stored, where an update expects them.
    const expected = { set, delete: [], expect: new Map([['b', 'more text']]), updatedAt: now, expiresAt: undefined };
    expect(await near.update(key, expected, call)).to.include({ outcome: 'updated', revision: 3 });
    await near.close();
  });
});
