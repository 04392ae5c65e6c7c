/**
 * What an error's `code` can be. It is stable and meant for programs; the message is meant for people (what happened, to
 * what, and what to do about it) and may change. Neither ever holds a token, an id or a session's value.
 */
export type SessionErrorCode =
  | 'WSESSION_OPTION'
  | 'WSESSION_VALUE'
  | 'WSESSION_RESERVED'
  | 'WSESSION_INSECURE'
  | 'WSESSION_GONE'
  | 'WSESSION_UNAVAILABLE'
  | 'WSESSION_COOKIE_SIZE'
  | 'WSESSION_LATE'
  | 'WSESSION_NO_RESPONSE'
  | 'WSESSION_UNSUPPORTED'
  | 'WSESSION_TWICE'
  | 'WSESSION_ORDER';

/** An option or an argument that can't be used: says what it got and what it takes. Options are checked when the app starts. */
export class OptionError extends TypeError {
  readonly code: SessionErrorCode = 'WSESSION_OPTION';
  override readonly name: string = 'OptionError';

  constructor(option: string, got: unknown, takes: string) {
    super(`${option} is ${describe(got)}, but it takes ${takes}.`);
  }

  /** For an option that isn't one: a typo would otherwise go unseen. */
  static unknown(owner: string, name: string, names: readonly string[]): OptionError {
    const error = new OptionError(owner, undefined, '');
    error.message = `${owner} has no option ${JSON.stringify(name)}, but it takes ${names.join(', ')}.`;
    return error;
  }
}

/** A key or a value that couldn't come back as it was, and is therefore not stored. `path` says where it is. */
export class ValueError extends TypeError {
  readonly code: SessionErrorCode = 'WSESSION_VALUE';
  override readonly name: string = 'ValueError';
  readonly path: string;

  constructor(path: string, problem: string) {
    super(`${path} ${problem}`);
    this.path = path;
  }
}

/** An assignment to the name of one of the session's own members, such as `session.save = …`. */
export class ReservedError extends TypeError {
  readonly code: SessionErrorCode = 'WSESSION_RESERVED';
  override readonly name: string = 'ReservedError';

  constructor(member: string) {
    super(
      `session.${member} is a member of every session and can't be a key: store the value under another name.`,
    );
  }
}

/** What the errors that answer a request have in common. `status` and `expose` are what Koa answers with. */
export class SessionError extends Error {
  readonly code: SessionErrorCode;
  readonly status: number;
  readonly expose: boolean;

  constructor(code: SessionErrorCode, status: number, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = new.target.name;
    this.code = code;
    this.status = status;
    this.expose = status < 500;
  }
}

/** The session was destroyed, regenerated or expired while this request was at work: nothing of it was stored. */
export class GoneError extends SessionError {
  constructor() {
    super(
      'WSESSION_GONE',
      409,
      'The session ended while this request was at work, so its changes were not stored: send the request again.',
    );
  }
}

/** The store failed or didn't answer in time. `cause` is the store's own error. */
export class UnavailableError extends SessionError {
  constructor(problem: string, cause?: unknown) {
    super(
      'WSESSION_UNAVAILABLE',
      503,
      `${problem} Whether a write was stored is unknown; the visitor keeps the cookie.`,
      cause,
    );
  }
}

/** A write over plain http to a session whose store says `secure: true`. */
export class InsecureError extends SessionError {
  constructor() {
    super(
      'WSESSION_INSECURE',
      500,
      'This session is `secure`, and the request came over plain http: it is neither read nor set. ' +
        'Where a proxy ends TLS, set `app.proxy = true` so that Koa trusts its X-Forwarded-Proto.',
    );
  }
}

/**
 * The token is larger than a cookie holds (4096 bytes: browsers drop a larger one without a word) or than
 * `headerTransport` carries (8192), so it isn't sent. `bytes` says how large, `largest` which keys are.
 */
export class CookieSizeError extends SessionError {
  /** Bytes of the token; with a cookie's name, where it is one. */
  readonly bytes: number;
  /** The session's largest keys, largest first. */
  readonly largest: readonly string[];

  constructor(
    bytes: number,
    limit: number,
    sizes: ReadonlyArray<readonly [key: string, bytes: number]>,
    header: string = 'Cookie',
  ) {
    const largest = [...sizes].sort((a, b) => b[1] - a[1]).slice(0, 3);
    super(
      'WSESSION_COOKIE_SIZE',
      500,
      `The session would take ${bytes} bytes in the ${header} header, which holds ${limit}. ` +
        `Largest keys: ${largest.map(([key, size]) => `${JSON.stringify(key)} (${size} bytes)`).join(', ')}. ` +
        'Store less, or use a store that keeps the data on the server.',
    );
    this.bytes = bytes;
    this.largest = largest.map(([key]) => key);
  }
}

/**
 * A change after the response's headers went out: it could not be stored any more. `keys` says which. What waits for it
 * (`save()`, `update()`, `regenerate()`) rejects with it; else, as the request is answered by then, it is an `error`
 * event of the app.
 */
export class LateError extends SessionError {
  /** The session's keys whose change is lost. */
  readonly keys: readonly string[];

  constructor(keys: readonly string[]) {
    super(
      'WSESSION_LATE',
      500,
      `The session changed when the response was settled already (${keys.map((key) => JSON.stringify(key)).join(', ') || 'a new cookie is due'}), ` +
        "so the change isn't stored. Change it before the response begins, or `await ctx.session.save()` where the session already exists.",
    );
    this.keys = keys;
  }
}

/** A change that would need a new token, in a session that was opened without a response to send it with. */
export class NoResponseError extends SessionError {
  /** The session's keys whose change is not stored. */
  readonly keys: readonly string[];

  constructor(keys: readonly string[]) {
    super(
      'WSESSION_NO_RESPONSE',
      500,
      'The visitor would need a new token, and the session was opened without a response to send it with: ' +
        'pass one, `sessions.open(request, { response })`, or change the session in an ordinary request.',
    );
    this.keys = keys;
  }
}

/** An assignment to `ctx.session` where there is none: in front of the session middleware. */
export class OrderError extends SessionError {
  constructor() {
    super(
      'WSESSION_ORDER',
      500,
      '`ctx.session` was assigned in front of the session middleware: put `app.use(session(…))` before whatever uses it.',
    );
  }
}

/** Something that the store can't do, such as to list the sessions of an owner. */
export class UnsupportedError extends SessionError {
  constructor(what: string, instead: string) {
    super('WSESSION_UNSUPPORTED', 500, `${what} can't be had with this store: ${instead}`);
  }
}

/** A second session middleware on the same request, ours or another library's. */
export class TwiceError extends SessionError {
  constructor() {
    super(
      'WSESSION_TWICE',
      500,
      'Two session middlewares handle this request, and `ctx.session` can only be one: remove one `app.use(session(…))`.',
    );
  }
}

/** Says what a value is without showing what may be a secret. */
function describe(value: unknown): string {
  if (typeof value === 'string')
    return value === '' ? 'an empty string' : `a string of ${value.length} characters`;
  if (typeof value === 'function') return 'a function';
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value === 'object' && value !== null)
    return `an object (${value.constructor?.name ?? 'no class'})`;
  return String(value);
}
