import { AUTHENTICATED_KEY } from '../kernel/entries.js';
import { type SessionObject, toWritable } from '../kernel/session-object.js';
import type { FlashMessages, SessionData } from '../types.js';
import { BINDING_KEY } from './device-binding.js';
import { flash, takeFlash } from './flash.js';
import { assertSeconds, confirm, isFresh } from './freshness.js';
import { type LogInOptions, logIn } from './login.js';
import { type LogOutOptions, logOut } from './logout.js';
import { OWNER_KEY } from './owner-index.js';
import { LABEL_KEY, type Owner, readString, toDate } from './owners.js';
import type { SessionLimit } from './session-limit.js';

type FlashData = keyof FlashMessages extends never ? Record<string, unknown> : FlashMessages;

/** What can be done with one session besides its data: `sessions.of(ctx)`. */
export class SessionControls {
  readonly #session: SessionObject;
  readonly #limit: SessionLimit | undefined;

  constructor(session: SessionObject, limit?: SessionLimit) {
    this.#session = session;
    this.#limit = limit;
  }

  /**
   * Logs a visitor in: in one awaited call a new id (OWASP: session fixation), the owner, the label, and the time of
   * authentication. The same owner's content stays; of another owner's session what was loaded is dropped; of an
   * anonymous visitor's everything moves over, or the keys in `keep`. What this request assigned before stays.
   *
   * ```ts
   * await sessions.of(ctx).logIn(user.id, { label: 'Firefox on Linux', keep: ['cart'] });
   * ```
   * A second click is no error: it logs in, too.
   * @throws OptionError; SessionLimitError, where `maxSessions` refuses it; as `ctx.session.save()`, except GoneError
   */
  logIn(owner: Owner, options?: LogInOptions): Promise<void> {
    return this.#session.lifecycle.observe(() => logIn(this.#session, owner, options, this.#limit));
  }

  /**
   * The owner has authenticated again (a password, a passkey): stamps the time, and gives the session a new id with the
   * same content and owner. From here on `isFresh` and `absoluteTimeout` count from now.
   *
   * ```ts
   * if (await checkPassword(sessions.of(ctx).owner, password)) await sessions.of(ctx).confirm();
   * ```
   * @throws NotFreshError for an anonymous visitor; as `ctx.session.regenerate()`
   */
  confirm(): Promise<void> {
    return this.#session.lifecycle.observe(() => confirm(this.#session));
  }

  /**
   * Logs the visitor out: ends the session, as `ctx.session.destroy()`. With `clearSiteData`, the response also asks the
   * browser to delete what it holds of this site.
   * @throws UnavailableError; OptionError
   */
  logOut(options: LogOutOptions = {}): Promise<void> {
    return this.#session.lifecycle.observe(() => logOut(this.#session, options));
  }

  /**
   * Changes one key in one atomic step, whatever other requests and processes do to it meanwhile, and returns its new
   * value: `await sessions.of(ctx).update('counter', (n = 0) => n + 1)`. What was assigned before is stored with it.
   * `change` may be called more than once, each time with the value of that moment, and must not wait for another call
   * of the same session.
   * @throws as `ctx.session.save()`
   */
  update<K extends keyof SessionData & string>(
    key: K,
    change: (value: SessionData[K] | undefined) => SessionData[K] | Promise<SessionData[K]>,
  ): Promise<SessionData[K]> {
    const { lifecycle } = this.#session;
    return lifecycle.observe(async () => {
      const [value] = await lifecycle.update([toWritable(key)], async ([current]) => [
        await change(current as SessionData[K] | undefined),
      ]);
      return value as SessionData[K];
    });
  }

  /**
   * Leaves a message for a later request. Several under one key are kept side by side.
   * @throws ValueError for what can't be stored; OptionError for `undefined`
   */
  flash<K extends keyof FlashData & string>(key: K, message: FlashData[K]): void {
    flash(this.#session, key, message);
  }

  /**
   * Takes all messages that were left under a key, in order: each is taken at most once, whatever parallel requests do.
   * (With a store that can't merge, parallel requests may both get one.) HEAD and prefetch requests get the messages
   * without taking them. Returns an empty list where there is none.
   * @throws as `ctx.session.save()`
   */
  takeFlash<K extends keyof FlashData & string>(key: K): Promise<Array<FlashData[K]>> {
    return this.#session.lifecycle.observe(() => takeFlash(this.#session, key) as Promise<Array<FlashData[K]>>);
  }

  /** Whose session it is: what `logIn` was given, as a string. */
  get owner(): string | undefined {
    return readString(this.#stored(OWNER_KEY));
  }

  /** The label that `logIn` was given. */
  get label(): string | undefined {
    return readString(this.#stored(LABEL_KEY));
  }

  /** A public reference, as in `sessions.list` and in events, from which no id can be derived; `undefined` while `isNew`. */
  get ref(): string | undefined {
    const { lifecycle, scope } = this.#session;
    return lifecycle.loaded && scope.tokens.refOf(lifecycle.loaded.key);
  }

  /** When the session began; `undefined` while `isNew`. `regenerate()` and `logIn()` keep it. */
  get createdAt(): Date | undefined {
    const { loaded } = this.#session.lifecycle;
    return loaded && new Date(loaded.createdAt);
  }

  /** When the session expires if it isn't changed again; `undefined` while `isNew`. */
  get expiresAt(): Date | undefined {
    const { loaded } = this.#session.lifecycle;
    return loaded && new Date(loaded.expiresAt);
  }

  /** When its owner logged in, or confirmed it, last; `undefined` for an anonymous visitor's. */
  get authenticatedAt(): Date | undefined {
    return toDate(this.#stored(AUTHENTICATED_KEY));
  }

  /** Whether it is bound to the browser's device, see the option `deviceBound`. */
  get deviceBound(): boolean {
    return this.#stored(BINDING_KEY) !== undefined;
  }

  /**
   * Whether its owner logged in, or confirmed it, at most so many seconds ago: for steps that want a recent login.
   * `false` for an anonymous visitor's.
   * @throws OptionError
   */
  isFresh(seconds: number): boolean {
    assertSeconds('isFresh()', seconds);
    return isFresh(this.authenticatedAt, seconds);
  }

  #stored(key: string): string | undefined {
    return this.#session.lifecycle.tracker.stored.get(key);
  }
}
