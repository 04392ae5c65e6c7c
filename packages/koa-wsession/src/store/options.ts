import { OptionError } from '../errors.js';

/** What every store takes. */
export interface StoreOptions {
  /** Seconds that a session lives after its last change, in the cookie and in the store: over 0, up to 400 days. Default 3600. */
  expire?: number;
  /** Sessions only over https. Default `false`. Behind a proxy that ends TLS, set `app.proxy = true`. */
  secure?: boolean;
  /** The cookie's Domain attribute, to share it with sub-domains (RFC 6265, 5.2.3). Default: the host alone. */
  domain?: string;
}

/**
 * Checks the options of a store's constructor: those that all stores share, and that there are no others than `own`.
 * @throws OptionError
 */
export function checkStoreOptions(
  store: string,
  options: StoreOptions,
  own: readonly string[] = [],
): { expire: number; secure: boolean; domain: string | undefined } {
  checkOptionNames(store, options, ['expire', 'secure', 'domain', ...own]);
  const { expire = 3600, secure = false, domain } = options;
  checkOption('expire', expire, isSeconds, secondsFor);
  checkOption('secure', secure, isBoolean, 'true or false');
  checkOption('domain', domain, isDomainOrNone, 'a domain such as example.com, at most 253 characters');
  return { expire, secure, domain };
}

/** Throws an {@link OptionError} unless the value passes. `expected` may depend on the value that doesn't. */
export function checkOption(
  option: string,
  value: unknown,
  passes: (value: unknown) => boolean,
  expected: string | ((value: unknown) => string),
): void {
  if (!passes(value)) throw new OptionError(option, value, typeof expected === 'string' ? expected : expected(value));
}

/** Refuses unknown options, so that a typo doesn't go unnoticed. `hints`: what to do about options that belong elsewhere. */
export function checkOptionNames(
  owner: string,
  options: unknown,
  names: readonly string[],
  hints: Readonly<Record<string, string>> = {},
): void {
  checkOption(`options of ${owner}`, options, isObject, 'an object');
  for (const name of Object.keys(options as object)) {
    if (!names.includes(name)) throw OptionError.unknown(owner, name, names, hints[name]);
  }
}

/** Browsers keep no cookie longer (RFC 6265bis, 5.5). */
const MAX_SECONDS = 400 * 86_400;

/** What is expected in place of a value that fails `isSeconds`: a positive one is over the limit. */
export function secondsFor(value: unknown): string {
  return `seconds over 0, up to 400 days (34,560,000)${isPositive(value) ? '; milliseconds?' : ''}`;
}

export function isSeconds(value: unknown): boolean {
  return isPositive(value) && value <= MAX_SECONDS;
}

export function isPositive(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value > 0;
}

export function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}

export function isBoolean(value: unknown): boolean {
  return typeof value === 'boolean';
}

export function isDomainOrNone(value: unknown): boolean {
  return (
    value === undefined ||
    (typeof value === 'string' &&
      value.length <= 253 &&
      /^\.?[a-z\d]([a-z\d-]*[a-z\d])?(\.[a-z\d]([a-z\d-]*[a-z\d])?)*$/i.test(value))
  );
}

/** The name of a cookie or a header: a token (RFC 9110, 5.6.2). */
export function isToken(value: unknown): boolean {
  return typeof value === 'string' && /^[\w!#$%&'*+\-.^`|~]{1,256}$/.test(value);
}
