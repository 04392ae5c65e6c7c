import type { IncomingMessage } from 'node:http';
import type * as Koa from 'koa';
import { OptionError } from './errors.js';
import { SessionControls } from './features/controls.js';
import { warnOfCookie } from './features/cookie-warning.js';
import { DeviceBound } from './features/device-bound.js';
import { diagnostics } from './features/events.js';
import { requireFresh } from './features/freshness.js';
import { importSession } from './features/migrate.js';
import { indexed } from './features/owner-index.js';
import { type OwnedSession, type Owner, Owners, type SidFinder } from './features/owners.js';
import { SessionLimit } from './features/session-limit.js';
import { type OpenOptions, type Prologue, SessionKernel } from './kernel/middleware.js';
import { resolveOptions, type SessionOptions } from './kernel/options.js';
import { checkOption, checkOptionNames, isObject } from './store/options.js';
import type { Store } from './store/store.js';
import type { Session, SessionContent } from './types.js';

// Here, since the declarations that an app imports lead to this file.
declare module 'koa' {
  interface ExtendableContext {
    get session(): Session;
    set session(content: SessionContent | null);
  }
}

/** Which of an owner's sessions `revoke` ends: all but one, or only one. */
export interface RevokeOptions {
  /** All but this one, such as `ctx`, whose session it is. */
  readonly except?: Koa.Context | Session;
  /** Only the one with this `ref`. */
  readonly only?: string;
}

/** The middleware, and what can be done with sessions besides `ctx.session`. */
export interface Sessions extends Koa.Middleware {
  /**
   * What can be done with one session besides its data: log in and out, update atomically, flash messages.
   * @throws MiddlewareOrderError where this middleware hasn't run for the request; OptionError for anything but an object
   */
  of(session: Koa.Context | Session): SessionControls;

  /**
   * Middleware for steps that want a recent login: lets a request pass where its session's owner logged in, or confirmed
   * it, at most so many seconds ago (OWASP ASVS 5.0, 7.5.1 and 7.5.3).
   *
   * ```ts
   * router.post('/account/email', sessions.requireFresh(300), changeEmail);
   * ```
   * Otherwise the request fails with a NotFreshError, a 401 of the code `WSESSION_NOT_FRESH`: catch it in a middleware
   * in front, and show the password page, which calls `confirm()`.
   * @throws OptionError
   */
  requireFresh(seconds: number): Koa.Middleware;

  /**
   * An owner's live sessions, newest first; that of `current` is marked.
   * @throws UnsupportedError with a store that has no index (one that seals); UnavailableError; OptionError
   */
  list(owner: Owner, current?: Koa.Context | Session): Promise<OwnedSession[]>;

  /**
   * Ends an owner's sessions, as final as any logout: all, all `except` one, or `only` one. Returns how many it ended.
   * `{ sid }` ends those that an identity provider's session began, for OpenID Connect back-channel logout. A cookie store
   * with `revocations` refuses them from then on; it supports neither `except` nor `only`, and returns 0, since it has no
   * list: to keep the session at hand, `logIn()` again afterwards.
   * @throws as `list`
   */
  revoke(owner: Owner | SidFinder, options?: RevokeOptions): Promise<number>;

  /**
   * Ends everyone's sessions that were created before the call, those of other names in the same store included. A session
   * that was created in the future, since the clock of its process was ahead, ends, too (not with a cookie store).
   * Returns how many it ended; 0 with a cookie store with `revocations`, which refuses them from then on.
   * @throws UnsupportedError with a store that can't name its sessions; UnavailableError
   */
  revokeAll(): Promise<number>;

  /**
   * Opens the session of a request that doesn't come through Koa: a WebSocket's upgrade, a plain server's. An anonymous
   * visitor gets a new session, as anywhere. Changes aren't saved automatically: `save()` and `update()` store them.
   * @throws UnavailableError
   */
  open(request: IncomingMessage, options?: OpenOptions): Promise<Session>;
}

/**
 * Koa middleware that gives every request after it `ctx.session`.
 *
 * ```ts
 * const sessions = session(new MemoryStore());
 * app.use(sessions);
 * app.use((ctx) => { ctx.body = ctx.session.counter = (ctx.session.counter ?? 0) + 1; });
 * ```
 * @throws OptionError for an invalid or unknown option
 */
export function session(store: Store, options: SessionOptions = {}): Sessions {
  const settings = resolveOptions(store, options, diagnostics);
  warnOfCookie(settings);
  const { migrate, maxSessions } = settings;
  const deviceBound = options.deviceBound ? new DeviceBound(settings, options.deviceBound) : undefined;
  const prologues: Prologue[] = [];
  if (deviceBound) prologues.push((request, ctx) => deviceBound.respond(request, ctx));
  if (migrate) prologues.push(importSession.bind(undefined, migrate));
  const kernel = new SessionKernel({ ...settings, store: indexed(store), extension: deviceBound }, prologues);
  const owners = new Owners(kernel.tokensFor(undefined));
  const limit = maxSessions && new SessionLimit(owners, maxSessions);
  const objectOf = (of: Koa.Context | Session) => {
    checkOption('session', of, isObject, 'ctx or a session; ctx.session is undefined above app.use(sessions)');
    return kernel.objectOf(of);
  };
  const keyOf = (of: Koa.Context | Session): string | undefined => {
    const { loaded, replacedBy } = objectOf(of).lifecycle;
    return loaded?.key ?? replacedBy;
  };

  function session(ctx: Koa.Context, next: Koa.Next): Promise<void> {
    return kernel.handle(ctx, next);
  }

  const of = (session: Koa.Context | Session): SessionControls => new SessionControls(objectOf(session), limit);

  return Object.assign(session, {
    of,
    requireFresh: (seconds: number) => requireFresh((ctx) => of(ctx).authenticatedAt, seconds),
    list: async (owner: Owner, current?: Koa.Context | Session) => owners.list(owner, current && keyOf(current)),
    revoke: async (owner: Owner | SidFinder, which: RevokeOptions = {}) => {
      checkOptionNames('revoke()', which, ['except', 'only']);
      for (const [option, value] of Object.entries(which))
        if (value === undefined || value === null)
          throw new OptionError(`${option} of revoke()`, value, 'a value: leave the option out to end all');
      const { except, only } = which;
      checkOption(
        'only of revoke()',
        only,
        (value) => value === undefined || typeof value === 'string',
        'the `ref` of a session',
      );
      return owners.revoke(owner, { except: except === undefined ? except : keyOf(except), only });
    },
    revokeAll: () => owners.revokeAll(),
    open: (request: IncomingMessage, options: OpenOptions = {}) => kernel.open(request, options),
  });
}
