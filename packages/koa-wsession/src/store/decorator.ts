import type {
  Absent,
  Awaitable,
  Call,
  Capabilities,
  ChangeFeed,
  Changes,
  Created,
  DestroyCall,
  Destroyed,
  SessionIndex,
  SessionRecord,
  Store,
  Updated,
} from './store.js';

/** A store over another one, to which it passes everything on; a subclass overrides what it changes. */
export abstract class StoreDecorator implements Store {
  readonly expire: number;
  readonly secure: boolean;
  readonly domain: string | undefined;
  readonly capabilities: Capabilities;
  readonly index?: SessionIndex;
  readonly scan?: NonNullable<Store['scan']>;
  readonly changes?: ChangeFeed;
  readonly wantsRevisions?: true;
  readonly revokeUntil?: NonNullable<Store['revokeUntil']>;
  protected readonly store: Store;

  constructor(store: Store) {
    const { index, changes, wantsRevisions, revokeUntil } = store;
    ({ expire: this.expire, secure: this.secure, domain: this.domain, capabilities: this.capabilities } = store);
    if (index) this.index = index;
    const scan: Store['scan'] = (call) => (store.scan as NonNullable<Store['scan']>)(call);
    if (store.scan) this.scan = scan;
    if (changes) this.changes = changes;
    if (wantsRevisions) this.wantsRevisions = true;
    if (revokeUntil) this.revokeUntil = revokeUntil.bind(store);
    this.store = store;
  }

  load(key: string, call: Call): Awaitable<SessionRecord | Absent> {
    return this.store.load(key, call);
  }

  create(key: string, record: SessionRecord, call: Call): Awaitable<Created> {
    return this.store.create(key, record, call);
  }

  update(key: string, changes: Changes, call: Call): Awaitable<Updated> {
    return this.store.update(key, changes, call);
  }

  destroy(key: string, call: DestroyCall): Awaitable<Destroyed> {
    return this.store.destroy(key, call);
  }

  close(): Awaitable<void> {
    return this.store.close?.();
  }
}

/** For a step that follows another one, or a wait: the store below may do it at once, and not look at the deadline. */
export function assertInTime({ deadline }: Call): void {
  if (performance.now() > deadline) throw new Error('the call was abandoned: the request timed out');
}
