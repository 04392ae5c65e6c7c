/**
 * The data of a session, for you to fill in:
 *
 * ```ts
 * declare module 'koa-wsession' {
 *   interface SessionData { counter?: number }
 * }
 * ```
 *
 * Keys are optional, since each can be missing; a key that isn't declared doesn't compile.
 */
// biome-ignore lint/suspicious/noEmptyInterface: it is there to be merged into.
export interface SessionData {}

/**
 * The messages of `flash`, by key. Any key with any value, unless you say which there are:
 *
 * ```ts
 * declare module 'koa-wsession' {
 *   interface FlashMessages { notice: string }
 * }
 * ```
 */
// biome-ignore lint/suspicious/noEmptyInterface: it is there to be merged into.
export interface FlashMessages {}

type FlashData = keyof FlashMessages extends never ? Record<string, unknown> : FlashMessages;

/** What every session has beside its data. None of it is enumerable, and of it only `owner` and `label` can be set. */
export interface SessionMembers {
  /** Whether nothing of this session is stored yet: no record, and no cookie. */
  readonly isNew: boolean;

  /**
   * Ends the session, and has the browser delete the cookie. Final once awaited: no request that is still at work,
   * in any process, brings it back. (With a store that can't revoke across processes, see its README.)
   * Ending one that ended already is no error. What is assigned afterwards belongs to a new session.
   * The same as `ctx.session = null`, which is carried out at the end of the request.
   * @throws UnavailableError
   */
  destroy(): Promise<void>;

  /**
   * A new id for the same data: call it whenever the visitor's rights change, at login above all
   * (OWASP: session fixation). The old id is worth nothing once awaited. What was assigned before is stored under the
   * new id only; what parallel requests write meanwhile is carried over. The age, on which `absoluteTimeout` counts,
   * stays.
   * Does nothing while `isNew`: such a session gets its id when it is stored.
   * @throws GoneError if the session ended meanwhile; else as `save`, and LateError always once the headers are sent
   */
  regenerate(): Promise<void>;

  /**
   * Stores what changed up to now, instead of at the end of the request. Once awaited it is stored.
   * @throws GoneError, UnavailableError, InsecureError, ValueError, CookieSizeError; where the visitor would need a new
   * cookie, LateError once the headers are sent, and NoResponseError without a response
   */
  save(): Promise<void>;

  /**
   * Changes one key in one atomic step, whatever other requests and processes do to it meanwhile, and answers its new
   * value: `await ctx.session.update('counter', (n = 0) => n + 1)`. What was assigned before is stored with it.
   * `change` may be called more than once, each time with the value of that moment, and must not wait for another
   * member of the same session.
   * @throws as `save`
   */
  update<K extends keyof SessionData & string>(
    key: K,
    change: (value: SessionData[K] | undefined) => SessionData[K] | Promise<SessionData[K]>,
  ): Promise<SessionData[K]>;

  /**
   * Gives this session a lifetime of its own, in seconds after its last change, in place of the store's `expire`:
   * "remember me". It is kept with the session, and `absoluteTimeout` still ends it.
   * @throws OptionError unless over 0 and up to ten years; InsecureError
   */
  expireIn(seconds: number): void;

  /**
   * Whose session it is: an id of your user, by which `sessions.list` and `sessions.revoke` find it. It stays with the
   * session, also through `regenerate`, until it is set to `undefined`.
   * @throws OptionError for what is neither a string nor `undefined`, and for an empty one
   */
  owner: string | undefined;

  /** What `sessions.list` shows beside the session, such as the browser's name. Throws as `owner` does. */
  label: string | undefined;

  /**
   * Leaves a message for a later request.
   * @throws ValueError for what can't be stored
   */
  flash<K extends keyof FlashData & string>(key: K, value: FlashData[K]): void;
  /**
   * Takes the message that was left: reads it, and removes it. `undefined` where there is none. Of parallel requests in
   * one process, one gets it; of parallel requests in two processes at the very same time, both may.
   */
  flash<K extends keyof FlashData & string>(key: K): FlashData[K] | undefined;
}

/** `ctx.session`: your data, and the members. */
export type Session = SessionData & SessionMembers;
