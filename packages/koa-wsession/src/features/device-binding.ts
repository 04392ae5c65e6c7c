import { createHmac, hash, randomBytes, timingSafeEqual } from 'node:crypto';
import type { DeviceKey } from './device-proof.js';

/* What a session holds about the device it is bound to, each an entry of its own. */

/** The binding itself. */
export const BINDING_KEY: string = '\0device';
/** The challenge that a login offers for a registration. */
export const OFFER_KEY: string = '\0deviceOffer';
/** The challenges for the next proofs. */
export const CHALLENGES_KEY: string = '\0deviceChallenges';

export interface Binding {
  /** What the browser calls it; random, and no id. */
  readonly id: string;
  readonly key: DeviceKey;
  /** Signs bound cookies, so that no process has to remember them. */
  readonly secret: string;
  readonly since: number;
}

/** A challenge, hashed as ids are, and when it expires. */
export interface Challenge {
  readonly hash: string;
  readonly until: number;
}

export function newBinding(key: DeviceKey): Binding {
  return { id: newRandom(), key, secret: newRandom(), since: Date.now() };
}

/** A challenge for the browser, and what the session keeps of it. */
export function newChallenge(seconds: number): { text: string; kept: Challenge } {
  const text = newRandom();
  return { text, kept: { hash: hashOf(text), until: Date.now() + seconds * 1000 } };
}

export function isAnswered({ hash, until }: Challenge, answer: string): boolean {
  return Date.now() < until && hash === hashOf(answer);
}

/** An entry of these; `undefined` where there is none, or none that can be read. */
export function readEntry<T>(text: string | undefined): T | undefined {
  try {
    return text === undefined ? undefined : (JSON.parse(text) as T);
  } catch {
    return undefined;
  }
}

/** The value of a bound cookie: when it expires, signed. */
export function signExpiry(until: number, { id, secret }: Binding): string {
  const text = until.toString(36);
  return `${text}.${createHmac('sha256', secret).update(`${id}.${text}`).digest('base64url')}`;
}

/** Whether it is the value of a bound cookie that hasn't expired. */
export function isBoundCookie(value: string, binding: Binding): boolean {
  const until = Number.parseInt(value, 36);
  if (!(Date.now() < until)) return false;
  const expected = Buffer.from(signExpiry(until, binding));
  const actual = Buffer.from(value);
  return actual.length === expected.length && timingSafeEqual(actual, expected);
}

function newRandom(): string {
  return randomBytes(24).toString('base64url');
}

/** As the session keeps it. */
export function hashOf(challenge: string): string {
  return hash('sha256', challenge, 'base64url');
}
