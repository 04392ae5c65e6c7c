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
 * The flash messages, by key: any key with any value, unless you say which there are:
 *
 * ```ts
 * declare module 'koa-wsession' {
 *   interface FlashMessages { notice: string }
 * }
 * ```
 */
// biome-ignore lint/suspicious/noEmptyInterface: it is there to be merged into.
export interface FlashMessages {}

/** A Node callback: called with the error, or with none. */
export type SessionCallback = (error?: Error) => void;

/** A session's own lifetime: milliseconds after its last change, or `'session'`: the cookie ends with the browser. */
export type MaxAge = number | 'session';

/** The five names that every session has besides its data. None of them is an own property, so no loop shows them. */
export interface SessionMembers {
  /** Whether nothing of this session is stored yet: no record, and no cookie. */
  readonly isNew: boolean;

  /**
   * This session's own lifetime, in place of the store's `expire`: "remember me". Milliseconds as in Koa's cookies
   * (a minute to 400 days), or `'session'`: the cookie ends with the browser, and the record `expire` after the last
   * change. It stays with the session; `undefined`, `null` or `delete` resets it. `absoluteTimeout` still ends it.
   *
   * ```ts
   * ctx.session.maxAge = 30 * 24 * 60 * 60 * 1000;
   * ```
   * @throws OptionError, InsecureError, PathError
   */
  maxAge?: MaxAge | null | undefined;

  /**
   * Stores what changed up to now, instead of at the end of the request. Once awaited it is stored.
   * With a callback, it is called with the error, or with none.
   * @throws GoneError, UnavailableError, InsecureError, PathError, ValueError, CookieSizeError; where the visitor needs
   * a new cookie, LateError once the headers are sent, and NoResponseError without a response
   */
  save(): Promise<void>;
  /** The same with a Node callback, which gets the error, or nothing. */
  save(callback: SessionCallback): void;

  /**
   * A new id for the same data. `sessions.of(ctx).logIn(…)` does this and everything else that a login needs; call it
   * yourself when the visitor's rights change otherwise (OWASP: session fixation). The old id is worthless once awaited.
   * What parallel requests stored meanwhile is carried over. Does nothing while `isNew`.
   *
   * With a callback it follows Express, as Passport expects: the content is dropped, `ctx.session` is a new object, and
   * the former object keeps its content for you to copy from.
   * @throws GoneError if the session ended meanwhile; otherwise as `save`
   */
  regenerate(): Promise<void>;
  /** As Express does it: the content is dropped, and `ctx.session` is a new object. */
  regenerate(callback: SessionCallback): void;

  /**
   * Ends the session and has the browser delete the cookie; `ctx.session = null` does the same at the end of the
   * request. Final once awaited: no request in flight, in any process, restores it. (Stores that can't revoke across
   * processes say so in their README.) Ending a session that has ended already is no error. What is assigned afterwards
   * belongs to a new session.
   * @throws UnavailableError
   */
  destroy(): Promise<void>;
  /** The same with a Node callback, which gets the error, or nothing. */
  destroy(callback: SessionCallback): void;
}

/** `ctx.session`: your data, and five names. */
export type Session = SessionData & SessionMembers;

/** What `ctx.session = …` takes: new content, perhaps with a `maxAge`. */
export type SessionContent = SessionData & { maxAge?: MaxAge | null | undefined };
