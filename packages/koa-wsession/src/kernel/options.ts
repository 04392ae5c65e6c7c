import type * as Koa from 'koa';
import {
  checkOption,
  checkOptionNames,
  isBoolean,
  isDomainOrNone,
  isObject,
  isPositive,
  isSeconds,
  isToken,
  secondsFor,
} from '../store/options.js';
import type { Store } from '../store/store.js';
import type { SessionContent } from '../types.js';
import type { EncodeOptions } from './codec.js';
import type { Extension } from './extension.js';
import type { Lifetimes } from './lifetime.js';
import type { Observer } from './observer.js';
import { type Signer, toSigner } from './token.js';
import { type CookieAttributes, cookieTransport, MAX_ATTRIBUTE_BYTES, type Transport } from './transport.js';
import { Turns } from './update.js';

/** What `session(store, options)` takes. */
export interface SessionOptions {
  /**
   * The cookie's name. Default `'wsession'`. A session is valid only under the name it was issued for.
   * The prefixes `__Host-`, `__Secure-`, `__Http-` and `__Host-Http-` are checked against their rules (RFC 6265bis,
   * 4.1.3), since browsers drop a cookie that breaks them without notice. With `NODE_ENV=production`, a name without a
   * prefix, and a store without `secure`, emit a warning (`WSESSION_INSECURE_COOKIE`).
   */
  name?: string;
  /** The cookie's Path attribute; requests outside it have no session. Default `'/'`. */
  path?: string;
  /** The cookie's SameSite attribute: `'strict'`, `'lax'` or `'none'`, which needs a `secure` store. Default `'lax'`. */
  sameSite?: 'strict' | 'lax' | 'none';
  /** Keeps the cookie from the page's scripts. Default `true`. */
  httpOnly?: boolean;
  /** The cookie's Partitioned attribute (CHIPS), which needs a `secure` store. Default `false`. */
  partitioned?: boolean;
  /** The cookie's Priority attribute, which Chromium knows: `'low'`, `'medium'` or `'high'`. Default: none. */
  priority?: 'low' | 'medium' | 'high';
  /** `false`: the cookie ends with the browser, unless the session has a `maxAge` of its own. Default `true`. */
  persistent?: boolean;
  /**
   * Signs session ids: a list of secrets (HMAC-SHA256; the first signs, each verifies) or a Keygrip of your own.
   * Default: `app.keys` where set. A store that seals its tokens needs none and uses none.
   */
  keys?: Signer | readonly string[];
  /**
   * Resets the expiry also on requests that read the session without changing it (not on those that leave it alone):
   * `true` on each, a number at most once in so many seconds, which have to be less than the store's `expire`.
   * Default `false`.
   */
  rolling?: boolean | number;
  /** Seconds after the login (or the creation) at which a session ends in any case: over 0, up to 400 days. Default: none. */
  absoluteTimeout?: number;
  /**
   * How many sessions an owner may have at a time, across processes, and what happens at a login beyond that:
   * `'end-oldest'` (the default) ends the session whose owner logged in, or confirmed it, longest ago; `'refuse'` refuses
   * the login with a SessionLimitError, a 403. `3` means `{ limit: 3 }`. Default: no limit. It needs a store with an index
   * of owners; one that loses index entries, such as a Redis that evicts keys, lets an owner exceed the limit.
   *
   * A session that is given a new id counts once, and so does a login that was clicked twice; where the limit is reached,
   * that ends the first one's session.
   */
  maxSessions?: number | MaxSessions;
  /**
   * Bytes that a session may take, keys and values together as they are stored: what the request loaded, with its own
   * changes, so that parallel requests may exceed it by theirs. A change that makes a session larger than that throws a
   * SessionSizeError. `Infinity` for no limit. Default 1 MiB (1,048,576); with a store that seals none, since the token
   * has to fit into a cookie.
   */
  maxBytes?: number;
  /** Milliseconds that each call to the store may take before the response is a 503. Default 5000. */
  timeout?: number;
  /**
   * How tokens travel. Default `'cookie'`. `headerTransport('x-session')` for clients that keep no cookies. A list for
   * both: the response uses the first transport present in the request, otherwise the last one.
   */
  transport?: TransportOption | readonly TransportOption[];
  /**
   * Values that are instances of classes: `'refuse'` throws a ValueError, since they couldn't be restored exactly;
   * `'json'` stores what `JSON.stringify` makes of them, for apps that come from a library that did so. Default `'refuse'`.
   */
  classInstances?: 'refuse' | 'json';
  /** Imports the sessions of another library. Default: none. */
  migrate?: Migrate;
  /**
   * Binds sessions at login to the browser's device, in browsers that know Device Bound Session Credentials (W3C): a
   * stolen cookie is then good for `lifetime` seconds at most. Others work as without. See docs/device-bound.md.
   * Default: none.
   */
  deviceBound?: boolean | DeviceBoundOptions;
}

/** How sessions are bound to devices. */
export interface DeviceBoundOptions {
  /** Where the browser registers its key and proves that it holds it: below the cookie's path. Default: `device-bound/` and the session's name, below it. */
  readonly path?: string;
  /** Seconds between two proofs: 300 up to 400 days. Default 600. */
  readonly lifetime?: number;
}

/** How many sessions an owner may have, and what happens at a login beyond that. */
export interface MaxSessions {
  /** A whole number from 1. */
  readonly limit: number;
  /** Default `'end-oldest'`. */
  readonly then?: 'end-oldest' | 'refuse';
}

/** One way for tokens to travel. */
export type TransportOption = 'cookie' | Transport;

/**
 * Called for a visitor without a session: what it returns becomes the content of a new one. With `clear`, the names of
 * the old sessions' cookies, it is called only where one of them is sent, and they are deleted, so that each visitor is
 * asked about once.
 *
 * ```ts
 * const migrate = Object.assign(async (ctx: Koa.Context) => readOldSession(ctx.cookies.get('koa.sess')), { clear: ['koa.sess'] });
 * ```
 */
export interface Migrate {
  (ctx: Koa.Context): Promise<SessionContent | undefined> | SessionContent | undefined;
  readonly clear?: string | readonly string[];
}

/** The options, checked, with their defaults, in the form in which a request needs them. */
export interface Settings {
  readonly store: Store;
  readonly name: string;
  /** What the cookie is set with, also where another transport is used. */
  readonly attributes: CookieAttributes;
  /** The cookie, where it is one of the transports. */
  readonly cookie: Transport;
  readonly transports: readonly Transport[];
  /** The headers in which a session may come. */
  readonly vary: readonly string[];
  readonly keys: Signer | undefined;
  readonly lifetimes: Lifetimes;
  /** Milliseconds between two renewals by requests that only read; Infinity for none. */
  readonly rolling: number;
  readonly timeout: number;
  readonly maxBytes: number;
  readonly maxSessions: Required<MaxSessions> | undefined;
  readonly encoding: EncodeOptions;
  readonly migrate: Migrate | undefined;
  readonly extension?: Extension | undefined;
  readonly observer: Observer;
  readonly turns: Turns;
}

type Check = readonly [passes: (value: unknown) => boolean, expected: string | ((value: unknown) => string)];

/** Each option's check. An option that isn't given passes. */
const CHECKS: Readonly<Record<keyof SessionOptions, Check>> = {
  name: [isToken, "a cookie name: letters, digits and !#$%&'*+-.^_`|~, at most 256"],
  path: [
    isCookiePath,
    `a path that begins with "/", without ";" or control characters, at most ${MAX_ATTRIBUTE_BYTES} bytes`,
  ],
  sameSite: [isOneOf('strict', 'lax', 'none'), '"strict", "lax" or "none"'],
  httpOnly: [isBoolean, 'true or false'],
  partitioned: [isBoolean, 'true or false'],
  priority: [isOneOf('low', 'medium', 'high'), '"low", "medium" or "high"'],
  persistent: [isBoolean, 'true or false'],
  keys: [() => true, ''],
  rolling: [(value) => isBoolean(value) || isSeconds(value), (value) => `true, false or ${secondsFor(value)}`],
  absoluteTimeout: [isSeconds, secondsFor],
  maxBytes: [(value) => value === Number.POSITIVE_INFINITY || isPositive(value), 'bytes over 0, or Infinity'],
  maxSessions: [isMaxSessions, "a whole number from 1, or { limit: 3, then: 'end-oldest' } or { …, then: 'refuse' }"],
  timeout: [(value) => isPositive(value) && value < 2 ** 31, 'milliseconds over 0, below 2^31'],
  transport: [
    isOneOrMore(isTransport),
    "'cookie', a transport such as headerTransport('x-session'), or a list of them",
  ],
  classInstances: [isOneOf('refuse', 'json'), '"refuse" or "json"'],
  migrate: [isFunction, 'a function'],
  deviceBound: [(value) => isBoolean(value) || isObject(value), 'true, false or { path, lifetime }'],
};

/** What to write in place of options that belong elsewhere, or to another library. */
const HINTS: Readonly<Record<string, string>> = {
  expire: 'it belongs to the store, in seconds: new RedisStore(redis, { expire: 3600 }).',
  secure: 'it belongs to the store: new RedisStore(redis, { secure: true }).',
  domain: "it belongs to the store: new RedisStore(redis, { domain: 'example.com' }).",
  maxAge: "use the store's expire, in seconds, or ctx.session.maxAge, in milliseconds, for one session.",
  key: 'it is called name here.',
  secret: 'it is called keys here, a list of secrets; the cookie store takes its secret itself.',
  signed: 'set app.keys, or keys, to sign ids.',
  renew: 'it is called rolling here.',
  cookie: 'its properties are options here: path, sameSite, httpOnly; secure and domain belong to the store.',
  store: 'the store comes first: session(store, options).',
  adopt: 'it is called migrate.',
};

const NEVER = Number.POSITIVE_INFINITY;

/** Checks everything that can be wrong with a configuration, when the app starts. Throws an OptionError. */
export function resolveOptions(store: Store, options: SessionOptions, observer: Observer): Settings {
  checkOption('store', store, isStore, storeFor(store, options));
  checkOptionNames('session()', options, Object.keys(CHECKS), HINTS);
  for (const [option, [passes, expected]] of Object.entries(CHECKS)) {
    const value = options[option as keyof SessionOptions];
    if (value !== undefined) checkOption(option, value, passes, expected);
  }
  const { name = 'wsession', path = '/', sameSite = 'lax', httpOnly = true, partitioned = false } = options;
  const { priority, persistent = true, rolling = false, absoluteTimeout, timeout = 5000 } = options;
  const { transport = 'cookie', classInstances = 'refuse', migrate, keys, maxSessions } = options;
  const { maxBytes } = options;
  const { secure, domain, expire } = store;
  checkOption('domain of the store', domain, isDomainOrNone, 'a domain');
  const attributes: CookieAttributes = { path, domain, secure, httpOnly, sameSite, partitioned, priority };
  checkCookieRules(name, attributes);
  if (typeof rolling === 'number')
    checkOption('rolling', rolling, () => rolling < expire, `fewer seconds than the store's expire (${expire})`);
  checkClear(migrate, name);

  const cookie = cookieTransport(name, attributes);
  const transports = [transport].flat().map((one) => (one === 'cookie' ? cookie : one)) as Transport[];
  return {
    store,
    name,
    attributes,
    cookie,
    transports,
    vary: transports.map(({ requestHeader }) => requestHeader),
    keys: keys === undefined ? undefined : toSigner('keys', keys),
    lifetimes: { expire: expire * 1000, absoluteTimeout: (absoluteTimeout ?? NEVER) * 1000, persistent },
    rolling: rolling === false ? NEVER : Number(rolling === true ? 0 : rolling) * 1000,
    timeout,
    maxBytes: maxBytes ?? (store.capabilities.seals ? Number.POSITIVE_INFINITY : 2 ** 20),
    maxSessions: toLimit(maxSessions, store),
    encoding: { classInstances },
    migrate,
    observer,
    turns: new Turns(),
  };
}

/** Whether browsers demand something of a cookie because of its name (RFC 6265bis, 4.1.3). */
export function hasPrefix(name: string): boolean {
  return /^__(host|secure|http|host-http)-/i.test(name);
}

/** What browsers demand of a cookie's attributes, or they drop the cookie without notice. */
function checkCookieRules(name: string, attributes: CookieAttributes): void {
  const { path, domain, secure, httpOnly, sameSite, partitioned } = attributes;
  const needsSecure = 'a store with secure: true; browsers drop the cookie otherwise';
  if (sameSite === 'none') checkOption("sameSite: 'none'", secure, Boolean, needsSecure);
  if (partitioned) checkOption('partitioned: true', secure, Boolean, needsSecure);
  if (hasPrefix(name)) checkOption(`name ${name}`, secure, Boolean, needsSecure);
  if (/^__(host-)?http-/i.test(name))
    checkOption(`httpOnly of ${name}`, httpOnly, Boolean, 'true, because of the prefix __Http-');
  if (/^__host-/i.test(name)) {
    checkOption(`path of ${name}`, path, isOneOf('/'), '"/", because of the prefix __Host-');
    checkOption(`domain of ${name}`, domain, isOneOf(undefined), 'none, because of the prefix __Host-');
  }
}

/** A cookie name that browsers keep, though it is no token: koa-session's is `koa:sess`. */
function isOldName(value: unknown): boolean {
  return typeof value === 'string' && /^[^\s=;,\p{Cc}]{1,256}$/u.test(value);
}

function checkClear(migrate: Migrate | undefined, name: string): void {
  if (migrate?.clear === undefined) return;
  const names: unknown[] = [migrate.clear].flat();
  checkOption('migrate.clear', migrate.clear, isOneOrMore(isOldName), 'a cookie name, or a list of them');
  checkOption('migrate.clear', name, () => !names.includes(name), "other names than the session's own");
}

function isMaxSessions(value: unknown): boolean {
  const { limit, then, ...others } = (isObject(value) ? value : { limit: value }) as Record<string, unknown>;
  const isKnown = ['end-oldest', 'refuse', undefined].includes(then as string) && Object.keys(others).length === 0;
  return Number.isSafeInteger(limit) && isPositive(limit) && isKnown;
}

function toLimit(value: number | MaxSessions | undefined, store: Store): Settings['maxSessions'] {
  if (value === undefined) return undefined;
  const isIndexed = store.index !== undefined;
  checkOption('maxSessions', store, () => isIndexed, 'a store that indexes owners, such as files or Redis');
  const { limit, then = 'end-oldest' } = typeof value === 'number' ? { limit: value } : value;
  return { limit, then };
}

function isTransport(value: unknown): boolean {
  if (value === 'cookie') return true;
  if (!isObject(value)) return false;
  const { read, write, clear, requestHeader, responseHeader, limit, overhead } = value as Partial<Transport>;
  return (
    [read, write, clear].every(isFunction) &&
    [requestHeader, responseHeader].every(isToken) &&
    [limit, overhead].every((bytes) => typeof bytes === 'number' && bytes >= 0)
  );
}

/** What is expected in place of a value that isn't a store, in calls that look like a known mistake. */
function storeFor(store: unknown, options: unknown): string {
  const example = 'a store such as new MemoryStore()';
  if ((store as Partial<Koa.Context> | null)?.req) return `${example}, not ctx; call it: app.use(session(store))`;
  const isKoaSession = [store, options].some((one) => (one as Partial<Koa.Context['app']> | null)?.callback);
  return isKoaSession ? `${example}; write app.use(session(new MemoryStore(), options))` : example;
}

function isStore(value: unknown): boolean {
  if (!isObject(value)) return false;
  const { load, create, update, destroy, capabilities, expire } = value as Partial<Store>;
  return [load, create, update, destroy].every(isFunction) && isObject(capabilities) && isPositive(expire);
}

function isCookiePath(value: unknown): boolean {
  return typeof value === 'string' && /^\/[\x20-\x3a\x3c-\x7e]*$/.test(value) && value.length <= MAX_ATTRIBUTE_BYTES;
}

function isFunction(value: unknown): boolean {
  return typeof value === 'function';
}

/** A value that passes, or a list of such values that isn't empty. */
function isOneOrMore(passes: (value: unknown) => boolean): (value: unknown) => boolean {
  return (value) => [value].flat().length > 0 && [value].flat().every(passes);
}

function isOneOf(...values: readonly unknown[]): (value: unknown) => boolean {
  return (value) => values.includes(value);
}
