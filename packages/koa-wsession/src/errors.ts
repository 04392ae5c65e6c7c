/**
 * What an error's `code` can be. It is stable and meant for programs; the message is meant for people (what happened,
 * to what, what to do) and may change. Neither ever holds a token, an id or a session's value.
 */
export type SessionErrorCode =
  | 'WSESSION_OPTION'
  | 'WSESSION_VALUE'
  | 'WSESSION_RESERVED'
  | 'WSESSION_INSECURE'
  | 'WSESSION_PATH'
  | 'WSESSION_GONE'
  | 'WSESSION_UNAVAILABLE'
  | 'WSESSION_COOKIE_SIZE'
  | 'WSESSION_LATE'
  | 'WSESSION_NO_RESPONSE'
  | 'WSESSION_UNSUPPORTED'
  | 'WSESSION_DUPLICATE'
  | 'WSESSION_ORDER'
  | 'WSESSION_NOT_FRESH'
  | 'WSESSION_LIMIT'
  | 'WSESSION_SIZE'
  | 'WSESSION_UNPROVEN';

/** An invalid option or argument. Options are checked when the app starts. */
export class OptionError extends TypeError {
  readonly code: SessionErrorCode = 'WSESSION_OPTION';
  override readonly name: string = 'OptionError';

  constructor(option: string, got: unknown, expected: string) {
    super(`Invalid option ${option}: expected ${expected}, got ${describe(got)}`);
  }

  /** For an unknown option: a typo would otherwise go unnoticed. `hint`: what to write instead. */
  static unknown(owner: string, name: string, names: readonly string[], hint?: string): OptionError {
    const error = new OptionError(name, undefined, '');
    const guess = hint === undefined ? closest(name, names) : undefined;
    const advice = hint ?? (guess ? `did you mean ${guess}?` : `it takes ${names.join(', ')}.`);
    error.message = `Unknown option ${name} of ${owner}: ${advice}`;
    return error;
  }
}

/** A key or a value that couldn't be restored exactly and is therefore not stored. */
export class ValueError extends TypeError {
  readonly code: SessionErrorCode = 'WSESSION_VALUE';
  override readonly name: string = 'ValueError';
  /** Where it is, such as `session.cart[0].price`. */
  readonly path: string;

  constructor(path: string, problem: string) {
    super(`${path} ${problem}`);
    this.path = path;
  }
}

/** An assignment to one of the names that every session has, such as `session.save = …`. */
export class ReservedError extends TypeError {
  readonly code: SessionErrorCode = 'WSESSION_RESERVED';
  override readonly name: string = 'ReservedError';

  constructor(member: string) {
    super(`session.${member} can't be assigned or deleted, every session has it: store the value under another key.`);
  }
}

/** What the errors that become a response have in common: Koa responds with `status`. */
export class SessionError extends Error {
  readonly code: SessionErrorCode;
  readonly status: number;
  /** Whether Koa shows the message to the visitor. */
  readonly expose: boolean;

  constructor(name: string, code: SessionErrorCode, status: number, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = name; // spelt out: a minifier renames classes
    this.code = code;
    this.status = status;
    this.expose = status < 500;
  }
}

/** The session was destroyed, replaced or expired during this request: none of its changes were stored. */
export class GoneError extends SessionError {
  constructor() {
    const message = 'The session ended during this request, so its changes were not stored: send the request again.';
    super('GoneError', 'WSESSION_GONE', 409, message);
  }
}

/** The store failed or did not respond in time. `cause` is the store's own error. */
export class UnavailableError extends SessionError {
  constructor(problem: string, cause?: unknown) {
    const message = `${problem}. A write in progress may have been stored or not; the visitor keeps the cookie.`;
    super('UnavailableError', 'WSESSION_UNAVAILABLE', 503, message, cause);
  }
}

/**
 * The browser could not prove for now that it holds the key that the session is bound to (`Secure-Session-Skipped`), so
 * the request can't use the session. It keeps its cookies.
 */
export class UnprovenError extends SessionError {
  /** Response headers, which Koa sends with the error. */
  readonly headers: Readonly<Record<string, string>> = { 'Retry-After': '10' };

  constructor() {
    const message =
      'The session is bound to a device, and the browser could not renew the proof: send the request again later.';
    super('UnprovenError', 'WSESSION_UNPROVEN', 503, message);
  }
}

/** A write over plain http to a session whose store says `secure: true`. */
export class InsecureError extends SessionError {
  constructor() {
    const message =
      'The session was not stored: its store says secure: true, and the request came over plain http. ' +
      'Behind a proxy that ends TLS, set app.proxy = true; for development without TLS, use secure: false.';
    super('InsecureError', 'WSESSION_INSECURE', 500, message);
  }
}

/** A write by a request outside the cookie's `path`. */
export class PathError extends SessionError {
  constructor(path: string) {
    const message =
      `The session was not stored: its cookie has the path ${path}, and this request is outside it. ` +
      'Change the session below that path, or widen the option path.';
    super('PathError', 'WSESSION_PATH', 500, message);
  }
}

/**
 * The token doesn't fit into a cookie (4096 bytes: browsers drop a larger one without notice) or into the header of
 * `headerTransport` (8192 bytes), so it isn't sent.
 */
export class CookieSizeError extends SessionError {
  /** Bytes of the token; with a cookie's name, where it is one. */
  readonly bytes: number;
  /** The session's largest keys, largest first. */
  readonly largest: readonly string[];

  constructor(bytes: number, limit: number, sizes: Sizes, header: string = 'Cookie') {
    const largest = largestOf(sizes);
    const message =
      `The session needs ${bytes} bytes in the ${header} header, which holds ${limit}. ` +
      `Largest keys: ${listSizes(largest)}. Store less, or use a store that keeps the data on the server.`;
    super('CookieSizeError', 'WSESSION_COOKIE_SIZE', 500, message);
    this.bytes = bytes;
    this.largest = largest.map(([key]) => key);
  }
}

/**
 * The session would take more bytes than `maxBytes` allows, so the change was not stored. `save()` and the others throw
 * it again until the request takes the change back.
 */
export class SessionSizeError extends SessionError {
  /** Bytes of all keys and values, as they would be stored. */
  readonly bytes: number;
  /** The session's largest keys, largest first. */
  readonly largest: readonly string[];

  constructor(bytes: number, limit: number, sizes: Sizes) {
    const largest = largestOf(sizes);
    const message =
      `The session was not stored: it needs ${bytes} bytes, and maxBytes is ${limit}. ` +
      `Largest keys: ${listSizes(largest)}. Keep large data elsewhere and its key in the session, or raise maxBytes.`;
    super('SessionSizeError', 'WSESSION_SIZE', 500, message);
    this.bytes = bytes;
    this.largest = largest.map(([key]) => key);
  }
}

/**
 * A change after the response's headers were sent: it could not be stored any more. Awaited calls (`save()`,
 * `update()`, `regenerate()`) reject with it; other changes are an `error` event of the app.
 */
export class LateError extends SessionError {
  /** The keys whose change is lost. */
  readonly keys: readonly string[];

  constructor(keys: readonly string[]) {
    const message =
      `The session changed after the response's headers were sent (${listKeys(keys)}), so the change was not stored. ` +
      'Change it before the response begins, or await ctx.session.save() in a session that exists already.';
    super('LateError', 'WSESSION_LATE', 500, message);
    this.keys = keys;
  }
}

/** A change that needs a new token, in a session that was opened without a response to send it with. */
export class NoResponseError extends SessionError {
  /** The keys whose change was not stored. */
  readonly keys: readonly string[];

  constructor(keys: readonly string[]) {
    const message =
      `The session was not stored (${listKeys(keys)}): the visitor needs a new cookie, and there is no response to send ` +
      'it with. Pass one, sessions.open(request, { response }), or change the session in an ordinary request.';
    super('NoResponseError', 'WSESSION_NO_RESPONSE', 500, message);
    this.keys = keys;
  }
}

/** The session was used where the session middleware hasn't run. */
export class MiddlewareOrderError extends SessionError {
  constructor() {
    const message =
      'The session middleware has not run for this request: put app.use(session(…)) before the middleware that uses the session.';
    super('MiddlewareOrderError', 'WSESSION_ORDER', 500, message);
  }
}

/**
 * A step that wants a recent login, in a session whose owner logged in too long ago, or never: ask for the password (or
 * another factor), then call `confirm()`, or `logIn()` for an anonymous visitor.
 */
export class NotFreshError extends SessionError {
  /** `seconds`: the longest time since the login that the step allows; without it, any login would do. */
  constructor(seconds?: number) {
    const message =
      seconds === undefined
        ? 'Nobody is logged in: log in first.'
        : `This needs a login in the last ${seconds} seconds: enter the password again.`;
    super('NotFreshError', 'WSESSION_NOT_FRESH', 401, message);
  }
}

/** A login that `maxSessions` refuses: the owner has as many sessions as are allowed. Nothing was changed. */
export class SessionLimitError extends SessionError {
  /** How many sessions an owner may have. */
  readonly limit: number;

  constructor(limit: number) {
    const where = limit === 1 ? 'elsewhere' : `in ${limit} places`;
    const message = `This account is logged in ${where} already, and no more are allowed: log out there first.`;
    super('SessionLimitError', 'WSESSION_LIMIT', 403, message);
    this.limit = limit;
  }
}

/** Something that this store can't do, such as listing the sessions of an owner. */
export class UnsupportedError extends SessionError {
  constructor(what: string, instead: string) {
    super('UnsupportedError', 'WSESSION_UNSUPPORTED', 500, `${what} is not supported by this store: ${instead}`);
  }
}

/** A second session middleware of the same name on one request. */
export class DuplicateMiddlewareError extends SessionError {
  constructor(name: string) {
    const message = `Two session middlewares named "${name}" handle this request: remove one, or give it another option name.`;
    super('DuplicateMiddlewareError', 'WSESSION_DUPLICATE', 500, message);
  }
}

type Sizes = ReadonlyArray<readonly [key: string, bytes: number]>;

function largestOf(sizes: Sizes): Sizes {
  return [...sizes].sort((a, b) => b[1] - a[1]).slice(0, 3);
}

function listSizes(sizes: Sizes): string {
  return sizes.map(([key, size]) => `${JSON.stringify(key)} (${size} bytes)`).join(', ');
}

function listKeys(keys: readonly string[]): string {
  return keys.map((key) => JSON.stringify(key)).join(', ') || 'a new cookie is needed';
}

/** Describes a value. Secrets are passed to OptionError as objects, which are never shown. */
function describe(value: unknown): string {
  if (typeof value === 'string')
    return value.length > 60 ? `a string of ${value.length} characters` : JSON.stringify(value);
  if (typeof value === 'function') return 'a function';
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value === 'object' && value !== null) return `an object (${value.constructor?.name ?? 'no class'})`;
  return typeof value === 'bigint' ? `${value}n` : String(value);
}

/** The name that is at most two edits away, for "did you mean". */
function closest(name: string, names: readonly string[]): string | undefined {
  const near = names.map((one) => ({ one, edits: distance(name.toLowerCase(), one.toLowerCase()) }));
  return near.filter(({ edits }) => edits <= 2).sort((a, b) => a.edits - b.edits)[0]?.one;
}

/** Levenshtein distance. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replace = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replace, (row[j] as number) + 1, (next[j - 1] as number) + 1));
    }
    row = next;
  }
  return row[b.length] as number;
}
