/**
 * The contract between the core and a store.
 *
 * The core owns all policy: ids, cookies, encoding, what changed, when a session ends, how long to wait. A store
 * only reads and writes. It never parses a value, never sees a request, and (unless it seals) never sees an id:
 * `key` is a hash.
 *
 * **Data.** A session is a set of entries: each top-level key with its value as one opaque string. Keys and values
 * are well-formed strings (no lone surrogates) of any length and any characters, `''`, `'__proto__'` and `'\0'`
 * included. A store returns exactly what it was given. Instants are milliseconds since the epoch.
 *
 * **Absence and errors.** "Not there" is an answer. Missing, expired, corrupt, of an older format, or stored for
 * another address: all are absence, never an error: a visitor with a bad record is an anonymous visitor. Whatever
 * keeps a store from knowing (unreachable, disk full, permission denied, out of memory) is an error: throw it, or
 * reject. The core turns it into a 503, and nothing is acknowledged. Never return absence when the truth is "can't
 * tell": that would log everybody out.
 *
 * **Every call is one atomic step**, also towards other processes that share the storage. When the returned promise
 * fulfils, the step is done and outlives the process. A step that failed may have happened or not. A step that no
 * caller waits for any more (see {@link Call.deadline}) must not happen later.
 *
 * **Expiry is checked at each call** against `Date.now()`: a record is there while `Date.now() < expiresAt`, a mark
 * while `Date.now() < until`. Removing expired records in time is the store's own business.
 *
 * **Nothing given or returned is changed afterwards**, by the store or by the core.
 *
 * Whatever is added here, `StoreDecorator` has to pass on.
 */
export interface Store {
  /** Seconds that a session lives after its last change. */
  readonly expire: number;
  /** Sessions only over https: over plain http, the core neither reads nor sets them. */
  readonly secure: boolean;
  /** The cookie's Domain attribute; without it the cookie is the host's own. */
  readonly domain: string | undefined;
  readonly capabilities: Capabilities;

  /** The record under `key`, or why there is none. */
  load(key: string, call: Call): Awaitable<SessionRecord | Absent>;

  /**
   * Creates a record; the only call that does. Returns `exists`, and changes nothing, where a live record or a live
   * mark is under `key`: the core then takes a new id. Expired and corrupt records are replaced.
   * A sealing store returns the token.
   */
  create(key: string, record: SessionRecord, call: Call): Awaitable<Created>;

  /**
   * Merges changes into the record that is there *now*, whatever it was when this request loaded it: keys that
   * `changes` doesn't name keep their value. Increments the revision. Returns `gone`, and stores nothing, where there
   * is no record (any more): an update never restores one.
   *
   * With `expect`, it changes nothing and returns `conflict` with the actual values, unless each of these keys holds
   * exactly the expected value (`undefined`: isn't there).
   *
   * A store that can't merge (`capabilities.merges`) applies the changes to what the token holds.
   * A sealing store returns the new token.
   */
  update(key: string, changes: Changes, call: Call): Awaitable<Updated>;

  /**
   * Ends a session for good and returns the record that it ended, exactly as it was at that moment. Where there is
   * none to end, it says so: a second `destroy` is no error.
   *
   * With `call.replaced`, a live record leaves this mark behind: until its instant, `load` and `destroy` return the
   * mark, `update` returns `gone` and `create` returns `exists`.
   *
   * With `call.revision`, a live record of another revision stays, and is returned as `changed`. (A store that can't
   * merge ignores it.)
   */
  destroy(key: string, call: DestroyCall): Awaitable<Destroyed>;

  /** Which sessions belong to which owner. Without it, sessions can't be listed by owner. */
  readonly index?: SessionIndex;

  /**
   * The keys of all records, in batches: each record that is there from start to end at least once, others perhaps.
   * Without it, `sessions.revokeAll()` isn't supported. `call.deadline` holds for each batch.
   */
  scan?(call: () => Call): AsyncIterable<readonly string[]>;

  /**
   * For a store that can't list its sessions, but can refuse them: ends those of a group, or all, whose login (without one,
   * whose creation) was at this instant or before. Also those of tokens that are sealed later from such a session.
   * `group` is as in the index; `standingOf` tells a session's groups and instant.
   */
  revokeUntil?(group: string | undefined, instant: number, call: Call): Awaitable<void>;

  /** Announces changed records, for a near cache. Without it, the store can't be cached. */
  readonly changes?: ChangeFeed;

  /** Has tokens carry the record's revision, for `call.atLeast`. For a cache; a store that keeps the records has no use for it. */
  readonly wantsRevisions?: true;

  /** Ends the store's own timers and handles (never a client that the user passed in). May be called twice. */
  close?(): Awaitable<void>;
}

/**
 * Groups of sessions, such as those of one owner. The index may name sessions that have ended, but never misses a live
 * one: the core adds a session before it stores the record, and removes only what it ended. `group` is a hash (43
 * characters of base64url); `key` is a session's address.
 */
export interface SessionIndex {
  /**
   * Adds a session to a group until an instant, after which the entry may be removed. Added again, it gets the later
   * instant. With `call.limit`, a session that is new in the group isn't added, and the answer is `false`, where the
   * group has that many others whose instant hasn't come yet; one atomic step like any other. Otherwise `true`.
   */
  add(group: string, key: string, until: number, call: Call & { readonly limit?: number }): Awaitable<boolean>;
  /** Removes a session from a group; does nothing where it isn't in it. */
  remove(group: string, key: string, call: Call): Awaitable<void>;
  /** The keys of the group's sessions whose instant hasn't come yet, in no particular order. */
  keys(group: string, call: Call): Awaitable<readonly string[]>;
}

/**
 * Announces the keys of records that changed: created, updated, destroyed or replaced, by this process or another. It may announce
 * more than that, and late, but loses an announcement only together with a `gap`.
 */
export interface ChangeFeed {
  /** Calls the listener from now on, until the function that it returns is called. */
  subscribe(listener: ChangeListener): () => Awaitable<void>;
  /**
   * Resolves once the listeners have heard of all changes that were made before the call. Rejects, or never settles,
   * where that isn't certain, such as without a connection.
   */
  sync(): Promise<void>;
}

/** What a {@link ChangeFeed} calls. */
export interface ChangeListener {
  /** The record under this key changed. */
  changed(key: string): void;
  /** Announcements may be missing: the connection was lost, or is there now, for the first time or again. */
  gap(): void;
}

/** What a store can do. The conformance suite tests either side and skips neither. */
export interface Capabilities {
  /**
   * `false`: the visitor's token is an id, and `key` is its address, a hash over the session name and the id
   * (43 characters of base64url). `true`: the token is the sealed record itself, and `key` is the token, except in
   * `create`, where it is the address, to be sealed in. Unless the store also `revokes`, `load` must then return
   * synchronously; the core calls it when the session is first used.
   */
  readonly seals: boolean;
  /** `update` merges into what is there now, so that parallel requests on different keys all survive. */
  readonly merges: boolean;
  /** What `destroy` ended is ended in every process. `false`: only in this one. */
  readonly revokes: boolean;
}

/** What every call brings along. */
export interface Call {
  /** The session's name, for a sealing store to bind the token to. (An address includes it already.) */
  readonly name: string;
  /** When the core stops waiting, in `performance.now()` milliseconds. A step that hasn't begun by then must not begin. */
  readonly deadline: number;
  /**
   * `load` for a request's token: the revision that the token proves. A cache returns no older one. 0: it may also say from
   * memory that there is none.
   */
  readonly atLeast?: number | undefined;
}

/** What `destroy` may be told besides. */
export interface DestroyCall extends Call {
  /** The session goes on under another id: leave this mark. */
  readonly replaced?: Replacement | undefined;
  /** End the record only at this revision. */
  readonly revision?: number | undefined;
}

/** The mark of a session that goes on under another id. */
export interface Replacement {
  /** The key of the session that took its place, or is about to: there may be none under it. */
  readonly by: string;
  /** When the mark expires. */
  readonly until: number;
}

/** What a store keeps of a session, at one moment. */
export interface SessionRecord {
  readonly entries: Entries;
  readonly createdAt: number;
  /** When it was created or updated last. */
  readonly updatedAt: number;
  readonly expiresAt: number;
  /** 1 at first, incremented by the store at each update. */
  readonly revision: number;
}

/** No record: `undefined`, or why, where the store knows. */
export type Absent = undefined | 'expired' | 'corrupt' | 'seal' | Replacement;

/** Encoded values by top-level key, in no particular order. */
export type Entries = ReadonlyMap<string, string>;

/** What `update` merges: these entries set, those keys deleted, these instants; with `expect`, only if that is so. */
export interface Changes {
  readonly set: Entries;
  readonly delete: readonly string[];
  readonly updatedAt: number;
  /** `undefined`: the expiry stays as it is. */
  readonly expiresAt: number | undefined;
  readonly expect?: ReadonlyMap<string, string | undefined> | undefined;
  /** The record as the caller knows it. For decorators of a store; a store ignores it. */
  readonly known?: Pick<SessionRecord, 'entries' | 'updatedAt' | 'expiresAt'>;
}

/** What `create` returns; with `token` where the store seals. */
export type Created = { readonly outcome: 'created'; readonly token?: string } | { readonly outcome: 'exists' };

/** What `update` returns. `conflict`: not what was expected; `actual` has the values of all keys of `expect`. */
export type Updated =
  | { readonly outcome: 'updated'; readonly revision: number; readonly token?: string }
  | { readonly outcome: 'gone' }
  | { readonly outcome: 'conflict'; readonly actual: ReadonlyMap<string, string | undefined> };

/** What `destroy` returns. */
export type Destroyed =
  | { readonly outcome: 'destroyed'; readonly record: SessionRecord }
  | { readonly outcome: 'changed'; readonly record: SessionRecord }
  | { readonly outcome: 'replaced'; readonly by: string }
  | { readonly outcome: 'none' };

/** At once or later: a store in memory needs no promises. */
export type Awaitable<T> = T | Promise<T>;
