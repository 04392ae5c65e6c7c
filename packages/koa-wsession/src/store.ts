/**
 * The contract between the core and a store.
 *
 * The core owns all policy: ids, cookies, encoding, what changed, when a session ends, how long to wait. A store
 * owns input and output, and nothing else. It never parses a value, never sees a request, and (unless it seals)
 * never sees an id: it is addressed by a hash.
 *
 * **What crosses.** A session is a set of entries: each top-level key with its value as one opaque string. Keys and
 * values are well-formed strings (no lone surrogates) of any length and any characters, `''`, `'__proto__'` and
 * `'\0'` included. A store brings back exactly what it was given. Instants are milliseconds since the epoch.
 *
 * **What is an answer, and what is an error.** "Not there" is an answer. Missing, expired, corrupt, of an older
 * format, or belonging to another address: all are the same answer, none (`load`), `undefined` (`destroy`) or `gone`
 * (`update`), and never an error: a visitor with a bad record is an anonymous visitor. Whatever keeps a store from
 * knowing (unreachable, disk full, permission denied, out of memory) is an error: throw it, or reject. The core
 * turns it into a 503, and nothing is acknowledged. Never answer "not there" when the truth is "can't tell":
 * that would log everybody out.
 *
 * **Every call is one atomic step**, also towards other processes that share the store. When the returned promise
 * fulfils, the step is done and will outlive the process. A step that failed may have happened or not.
 *
 * **Expiry is checked at each call** against `Date.now()`: a record is there while `Date.now() < expiresAt`. That
 * expired records are also removed in time is the store's own business.
 */
export interface Store {
  /** Seconds that a session lives after its last change. */
  readonly expire: number;
  /** Sessions only over https: over plain http, the core neither reads nor sets them. */
  readonly secure: boolean;
  /** The cookie's Domain attribute; without it the cookie is the host's own. */
  readonly domain: string | undefined;
  readonly capabilities: Capabilities;

  /** The record under `key`, or that there is none (see above for what counts as none). */
  load(key: string, call: Call): Awaitable<SessionRecord | None>;

  /**
   * Makes a record where there is none. The only call that makes one.
   * Answers `exists`, and changes nothing, where a live record is already under `key`: the core takes a new id.
   * What is expired or corrupt doesn't exist and is replaced.
   * A sealing store answers the token.
   */
  create(key: string, record: SessionRecord, call: Call): Awaitable<Created>;

  /**
   * Merges changes into the record that is there *now*, whatever it was when this request loaded it: keys that
   * `changes` doesn't name keep their value. Sets the expiry. Answers `gone`, and stores nothing, where the record is
   * no more: an update never brings a record back.
   *
   * With `expect`, it changes nothing and answers `conflict` with the key's value as it is, unless that key holds
   * exactly the expected value (`undefined`: isn't there).
   *
   * A store that can't merge (`capabilities.merges`) applies the changes to what the token holds.
   * A sealing store answers the new token.
   */
  update(key: string, changes: Changes, call: Call): Awaitable<Updated>;

  /**
   * Ends a session for good and answers the record that it ended, exactly as it was at that moment, so that
   * `regenerate` can carry over what another request wrote meanwhile. `undefined` where there was none to end:
   * the second `destroy` is no error.
   */
  destroy(key: string, call: Call): Awaitable<SessionRecord | undefined>;

  /** Which sessions belong to whom. Without it, the store can't list an owner's sessions. */
  readonly owners?: OwnerIndex;

  /** Ends timers and handles that are the store's own (never a client that the user passed in). May be called twice. */
  close?(): Awaitable<void>;
}

/**
 * Which sessions belong to whom. The index may name sessions that are no more, but never misses one that is: the core
 * adds to it before it stores the record, and removes only what it ended. `owner` is a hash over the session name and
 * the owner (43 characters of base64url); `key` is a session's address.
 */
export interface OwnerIndex {
  /** Names a session as this owner's until an instant, at which the entry may go. Added again, it gets the later one. */
  add(owner: string, key: string, until: number, call: Call): Awaitable<void>;
  /** Forgets a session of this owner's; where it isn't named, it does nothing. */
  remove(owner: string, key: string, call: Call): Awaitable<void>;
  /** The keys of the owner's sessions, in no particular order. */
  keys(owner: string, call: Call): Awaitable<readonly string[]>;
}

/** What a store can do; the conformance suite tests the one side or the other, and never skips. */
export interface Capabilities {
  /**
   * `false`: the visitor's token is an id, and `key` is its address, a hash over the session name and the id
   * (43 characters of base64url). `true`: the token is the sealed record itself, and `key` is the token, except in
   * `create`, where it is the address, to be sealed in. `load` must then answer synchronously; the core calls it
   * when the session is first touched.
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
  /** When the core stops waiting, in `performance.now()` milliseconds: work not begun by then should not begin. */
  readonly deadline: number;
}

/** What a store keeps of a session, at one moment: neither the store nor the core changes one that it gave to the other. */
export interface SessionRecord {
  readonly entries: Entries;
  readonly createdAt: number;
  readonly expiresAt: number;
}

/** No record: `undefined`, or why, where a store knows. It makes no difference but to those who watch. */
export type None = undefined | 'expired' | 'corrupt' | 'seal';

/** Encoded values by top-level key, in no particular order. */
export type Entries = ReadonlyMap<string, string>;

/** What `update` merges: these entries set, those keys deleted, this expiry; with `expect`, only if that is so. */
export interface Changes {
  readonly set: Entries;
  readonly delete: readonly string[];
  readonly expiresAt: number;
  readonly expect?: { readonly key: string; readonly value: string | undefined };
}

/** What `create` answers; with `token` where the store seals. */
export type Created =
  | { readonly outcome: 'created'; readonly token?: string }
  | { readonly outcome: 'exists' };

/** What `update` answers. `conflict`: not what was expected, and `actual` is there instead. */
export type Updated =
  | { readonly outcome: 'updated'; readonly token?: string }
  | { readonly outcome: 'gone' }
  | { readonly outcome: 'conflict'; readonly actual: string | undefined };

/** At once or later: a store in memory needs no promises. */
export type Awaitable<T> = T | Promise<T>;
