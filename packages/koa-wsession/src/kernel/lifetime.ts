import { OptionError } from '../errors.js';
import type { MaxAge } from '../types.js';
import { AUTHENTICATED_KEY, MAX_AGE_KEY } from './entries.js';

/** The lifetimes of an app's sessions, in milliseconds. */
export interface Lifetimes {
  /** After the last change, unless the session has a `maxAge` of its own. */
  readonly expire: number;
  /** After the login, or the creation; Infinity for none. */
  readonly absoluteTimeout: number;
  /** Whether the cookie stays when the browser is closed, unless the session has a `maxAge` of its own. */
  readonly persistent: boolean;
}

/** Entries, or changes over them. */
export interface Readable {
  get(key: string): string | undefined;
}

/** When a session with these entries expires that changes now. */
export function expiryOf(entries: Readable, createdAt: number, { expire, absoluteTimeout }: Lifetimes): number {
  const maxAge = maxAgeOf(entries);
  const idle = typeof maxAge === 'number' ? maxAge : expire;
  return Math.ceil(Math.min(Date.now() + idle, endOf(entries, createdAt, absoluteTimeout)));
}

/** When a session with these entries ends, however often it changes. */
export function endOf(entries: Readable, createdAt: number, absoluteTimeout: number): number {
  return Number(entries.get(AUTHENTICATED_KEY) ?? createdAt) + absoluteTimeout;
}

/** The cookie's Max-Age in seconds; `undefined` for a cookie that ends with the browser. */
export function cookieAgeOf(entries: Readable, expiresAt: number, { persistent }: Lifetimes): number | undefined {
  const maxAge = maxAgeOf(entries);
  if (maxAge === 'session' || (maxAge === undefined && !persistent)) return undefined;
  return Math.ceil((expiresAt - Date.now()) / 1000);
}

/** Of an entry that can't be read, none: the record is the store's, but the limits are ours. */
function maxAgeOf(entries: Readable): MaxAge | undefined {
  const text = entries.get(MAX_AGE_KEY);
  if (text === '"session"') return 'session';
  const milliseconds = Number(text);
  return milliseconds > 0 ? milliseconds : undefined;
}

const MINUTE = 60_000;
const MAX = 400 * 24 * 60 * MINUTE;

/**
 * Checks a session's own lifetime.
 * @throws OptionError
 */
export function checkMaxAge(value: unknown, expire: number): asserts value is MaxAge {
  if (value === 'session') return;
  if (typeof value === 'number' && value > 0 && value <= MAX && (value >= MINUTE || expire < MINUTE)) return;
  const seconds = typeof value === 'number' && value > 0 && value < MINUTE ? ' (seconds? multiply by 1000)' : '';
  throw new OptionError('session.maxAge', value, `milliseconds from 60,000 up to 400 days, or 'session'${seconds}`);
}
