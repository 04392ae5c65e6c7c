import { conformance } from 'koa-wsession/conformance';
import { MemoryStore } from 'koa-wsession/memory';
import { nearCache } from 'koa-wsession/near-cache';
import type {
  Call,
  ChangeFeed,
  ChangeListener,
  Changes,
  DestroyCall,
  SessionRecord,
  Store,
  StoreOptions,
} from 'koa-wsession/store';

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
function cached(processes: number, options?: StoreOptions): Store {
  const store = new AnnouncingStore(options);
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

for (const processes of [1, 2])
  conformance(
    { describe, it, afterEach },
    {
      name: `nearCache(MemoryStore), ${processes === 1 ? 'one cache' : 'two caches'}`,
      create: (options) => cached(processes, options),
      capabilities: { seals: false, merges: true, revokes: true },
      isolated: true,
    },
  );
