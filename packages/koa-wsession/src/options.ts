import Keygrip from 'keygrip';
import type Koa from 'koa';
import { check, isPositive, isSeconds, isToken, SECONDS } from './check.js';
import { cookieTransport, MAX_ATTRIBUTE_BYTES } from './cookie.js';
import { OptionError } from './errors.js';
import { TakenMessages } from './flash.js';
import type { Store } from './store.js';
import type { Signer } from './token.js';
import type { Transport } from './transport.js';
import type { SessionData } from './types.js';

/** What every store takes. */
export interface StoreOptions {
  /** Seconds that a session lives after its last change, in the cookie and in the store: over 0, up to ten years. Default 3600. */
  expire?: number;
  /** Sessions only over https. Default `false`. Behind a proxy that ends TLS, set `app.proxy = true`. */
  secure?: boolean;
  /** The cookie's Domain attribute, to share it with sub-domains (RFC 6265, 5.2.3). Default: the host alone. */
  domain?: string;
}

/** What `session(store, options)` takes. */
export interface SessionOptions {
  /**
   * The cookie's name. Default `'wsession'`. A session counts only under the name it was issued for.
   * The prefixes `__Host-` and `__Secure-` are checked against their rules (RFC 6265bis, 4.1.3).
   */
  name?: string;
  /** The cookie's Path attribute. Default `'/'`. */
  path?: string;
  /** The cookie's SameSite attribute: `'strict'`, `'lax'` or `'none'`, which needs a `secure` store. Default `'lax'`. */
  sameSite?: 'strict' | 'lax' | 'none';
  /** Keeps the cookie from the page's scripts. Default `true`. */
  httpOnly?: boolean;
  /** The cookie's Partitioned attribute (CHIPS), which needs a `secure` store. Default `false`. */
  partitioned?: boolean;
  /** The cookie's Priority attribute, which Chromium knows: `'low'`, `'medium'` or `'high'`. Default: none. */
  priority?: 'low' | 'medium' | 'high';
  /**
   * Signs session ids: a list of secrets (HMAC-SHA256; the first signs, each verifies) or a Keygrip of your own.
   * Default: `app.keys` where set. A store that seals its tokens needs none and uses none.
   */
  keys?: Signer | readonly string[];
  /**
   * Resets the expiration on requests that read the session without changing it, too (not on those that leave it
   * alone): `true` on each, a number at most once in so many seconds, which have to be less than `expire`.
   * Default `false`.
   */
  rolling?: boolean | number;
  /** Seconds after its creation at which a session ends, whatever happens in it: over 0, up to ten years. Default: none. */
  absoluteTimeout?: number;
  /** Milliseconds that each call to the store may take, before the answer is a 503. Default 5000. */
  timeout?: number;
  /**
   * How tokens travel. Default `'cookie'`. `headerTransport('x-session')` for clients that keep no cookies. A list for
   * both: the first that a request uses carries the answer, too; the last does where it uses none.
   */
  transport?: TransportOption | readonly TransportOption[];
  /** Takes over the sessions that visitors bring from elsewhere. Default: none. */
  adopt?: Adopt;
}

/** One way for tokens to travel. */
export type TransportOption = 'cookie' | Transport;

/**
 * Asked for a visitor who has no session of ours: what it gives becomes the content of a new one. With `clear`, the
 * names of the cookies of the old sessions, it is asked only where one of these is sent, and they are deleted, so that
 * each visitor is asked about once.
 *
 * ```ts
 * const adopt = Object.assign(async (ctx: Koa.Context) => readOldSession(ctx.cookies.get('koa.sess')), { clear: ['koa.sess'] });
 * ```
 */
export interface Adopt {
  (ctx: Koa.Context): Promise<SessionData | undefined> | SessionData | undefined;
  readonly clear?: string | readonly string[];
}

/** The options, checked, with their defaults, in the form in which a request needs them. */
export interface Settings {
  readonly store: Store;
  readonly name: string;
  readonly transports: readonly Transport[];
  /** The headers in which a session may come. */
  readonly vary: readonly string[];
  readonly keys: Signer | undefined;
  /** Milliseconds between two resets on requests that only read; Infinity for none. */
  readonly rolling: number;
  /** Milliseconds; Infinity for none. */
  readonly absoluteTimeout: number;
  readonly timeout: number;
  readonly adopt: Adopt | undefined;
  readonly taken: TakenMessages;
  /** The cookies whose visitors are to be adopted. */
  readonly adopted: readonly string[] | undefined;
}

/**
 * Checks the options of a store's constructor: those that all stores share, and that there are no others than
 * `own`. Throws an {@link OptionError}.
 */
export function checkStoreOptions(
  store: string,
  options: StoreOptions,
  own: readonly string[] = [],
): { expire: number; secure: boolean; domain: string | undefined } {
  checkOptionNames(store, options, ['expire', 'secure', 'domain', ...own]);
  const { expire = 3600, secure = false, domain } = options;
  check('expire', expire, isSeconds, SECONDS);
  check('secure', secure, isBoolean, 'true or false');
  check(
    'domain',
    domain,
    (value) => value === undefined || isDomain(value),
    'a domain such as example.com, at most 253 characters',
  );
  return { expire, secure, domain };
}

/** Refuses an option that isn't one: a typo would otherwise go unseen. */
function checkOptionNames(owner: string, options: unknown, names: readonly string[]): void {
  check(
    `The options of ${owner}`,
    options,
    (value) => typeof value === 'object' && value !== null,
    'an object',
  );
  for (const name of Object.keys(options as object)) {
    if (!names.includes(name)) throw OptionError.unknown(owner, name, names);
  }
}

const OPTION_NAMES = [
  'name',
  'path',
  'sameSite',
  'httpOnly',
  'partitioned',
  'priority',
  'keys',
  'rolling',
  'absoluteTimeout',
  'timeout',
  'transport',
  'adopt',
];

/** Everything that can be wrong with a configuration is found here, when the app starts. */
export function resolveOptions(store: Store, options: SessionOptions): Settings {
  check('The store', store, isStore, 'a store such as new MemoryStore()');
  checkOptionNames('session()', options, OPTION_NAMES);
  const {
    name = 'wsession',
    path = '/',
    sameSite = 'lax',
    httpOnly = true,
    partitioned = false,
    priority,
  } = options;
  const { rolling = false, absoluteTimeout, timeout = 5000, transport = 'cookie', adopt } = options;
  const { secure, domain } = store;

  check('name', name, isToken, "a cookie name: letters, digits and !#$%&'*+-.^_`|~, at most 256");
  check(
    'path',
    path,
    isCookiePath,
    `a path that begins with "/", without ";" or control characters, at most ${MAX_ATTRIBUTE_BYTES} bytes`,
  );
  check('sameSite', sameSite, isOneOf('strict', 'lax', 'none'), '"strict", "lax" or "none"');
  check('httpOnly', httpOnly, isBoolean, 'true or false');
  check('partitioned', partitioned, isBoolean, 'true or false');
  check('priority', priority, isOneOf(undefined, 'low', 'medium', 'high'), '"low", "medium" or "high"');
  check(
    'rolling',
    rolling,
    (value) => isBoolean(value) || isSeconds(value),
    'true, false or a number of seconds over 0',
  );
  check('absoluteTimeout', absoluteTimeout, (value) => value === undefined || isSeconds(value), SECONDS);
  check(
    'timeout',
    timeout,
    (value) => isPositive(value) && (value as number) < 2 ** 31,
    'a number of milliseconds over 0, below 2^31',
  );

  check('The domain of the store', domain, (value) => value === undefined || isDomain(value), 'a domain');
  if (sameSite === 'none')
    check('sameSite "none"', secure, Boolean, 'a store with `secure: true`: browsers refuse it otherwise');
  if (partitioned)
    check('partitioned', secure, Boolean, 'a store with `secure: true`: browsers refuse it otherwise');
  if (/^__(host|secure)-/i.test(name))
    check(`The name ${name}`, secure, Boolean, 'a store with `secure: true`');
  if (/^__host-/i.test(name)) {
    check(`The path of ${name}`, path, isOneOf('/'), '"/" and no other, because of the prefix __Host-');
    check(`The domain of ${name}`, domain, isOneOf(undefined), 'none, because of the prefix __Host-');
  }

  const transports = [transport].flat();
  check(
    'transport',
    transports,
    (list) => transports.length > 0 && (list as unknown[]).every(isTransport),
    '"cookie", a transport such as headerTransport(\'x-session\'), or a list of them',
  );
  const clear = adopt?.clear === undefined ? undefined : [adopt.clear].flat();
  check('adopt', adopt, (value) => value === undefined || typeof value === 'function', 'a function');
  check(
    'adopt.clear',
    clear,
    (value) =>
      value === undefined || ((value as unknown[]).length > 0 && (value as unknown[]).every(isToken)),
    'a cookie name, or a list of them',
  );
  check('adopt.clear', clear, () => !clear?.includes(name), `other names than the session's own, ${name}`);
  const attributes = { path, domain, secure, httpOnly, sameSite, partitioned, priority };
  const cookie = cookieTransport(name, attributes);
  const used = transports.map((one) => (one === 'cookie' ? cookie : one));

  return {
    store,
    name,
    transports: used,
    vary: used.map(({ requestHeader }) => requestHeader),
    adopt,
    adopted: clear,
    taken: new TakenMessages(),
    keys: options.keys === undefined ? undefined : toSigner('keys', options.keys),
    rolling: rolling === false ? Number.POSITIVE_INFINITY : Number(rolling === true ? 0 : rolling) * 1000,
    absoluteTimeout: absoluteTimeout === undefined ? Number.POSITIVE_INFINITY : absoluteTimeout * 1000,
    timeout,
  };
}

/** A signer from what Koa's `app.keys` and our `keys` may be. */
function toSigner(option: string, keys: unknown): Signer {
  if (isSigner(keys)) return keys;
  const isSecret = (key: unknown) => (typeof key === 'string' || key instanceof Uint8Array) && key.length > 0;
  check(
    option,
    keys,
    (value) => Array.isArray(value) && value.length > 0 && value.every(isSecret),
    'a Keygrip, or a list of secrets that are not empty',
  );
  return new Keygrip(keys as string[], 'sha256');
}

const signers: WeakMap<object, Signer> = new WeakMap();

/** Who signs the ids: our `keys`, else Koa's `app.keys`, which may be set after the middleware is made. */
export function signerOf({ store, keys }: Settings, appKeys: object | undefined): Signer | undefined {
  if (store.capabilities.seals) return undefined;
  if (keys || !appKeys) return keys;
  const signer = signers.get(appKeys) ?? toSigner('app.keys', appKeys);
  signers.set(appKeys, signer);
  return signer;
}

function isSigner(value: unknown): value is Signer {
  return typeof value === 'object' && value !== null && 'sign' in value && 'verify' in value;
}

function isTransport(value: unknown): boolean {
  if (value === 'cookie') return true;
  if (typeof value !== 'object' || value === null) return false;
  const { read, write, clear, requestHeader, responseHeader, limit, overhead } = value as Partial<Transport>;
  return (
    [read, write, clear].every((method) => typeof method === 'function') &&
    [requestHeader, responseHeader].every(isToken) &&
    [limit, overhead].every((bytes) => typeof bytes === 'number' && bytes >= 0)
  );
}

function isStore(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const store = value as Partial<Store>;
  const methods = [store.load, store.create, store.update, store.destroy];
  return (
    methods.every((method) => typeof method === 'function') &&
    typeof store.capabilities === 'object' &&
    isPositive(store.expire)
  );
}

function isCookiePath(value: unknown): boolean {
  return (
    typeof value === 'string' &&
    /^\/[\x20-\x3a\x3c-\x7e]*$/.test(value) &&
    value.length <= MAX_ATTRIBUTE_BYTES
  );
}

function isDomain(value: unknown): boolean {
  return (
    typeof value === 'string' &&
    value.length <= 253 &&
    /^\.?[a-z\d]([a-z\d-]*[a-z\d])?(\.[a-z\d]([a-z\d-]*[a-z\d])?)*$/i.test(value)
  );
}

function isBoolean(value: unknown): boolean {
  return typeof value === 'boolean';
}

function isOneOf(...values: readonly unknown[]): (value: unknown) => boolean {
  return (value) => values.includes(value);
}
