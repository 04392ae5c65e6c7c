import type { JsonWebKey } from 'node:crypto';
import { addressOf, newId, toSigner } from '../kernel/token.js';
import type { Entries } from '../store/store.js';

/* What a session holds about the device it is bound to: its login's offer at first, then the binding. */

/** What the browser calls the session: a hash of its login's challenge, so it is random, and no session id. */
export const DEVICE_ID_KEY: string = '\0deviceId';
/** When the login offered the registration; until it is bound. */
export const OFFER_KEY: string = '\0deviceOffer';
export const BINDING_KEY: string = '\0device';

/** Seconds for which the challenge of a login can be answered. */
const OFFER_LIFETIME = 60;
/** How many answered challenges a session remembers. Older ones count as answered, so the list stays short. */
const MAX_ANSWERED = 8;

export interface Binding {
  readonly key: JsonWebKey;
  /** Signs bound cookies and challenges, so that neither has to be stored. */
  readonly secret: string;
  readonly since: number;
  /** The latest challenges that were answered, sorted, each without its signature. */
  readonly answered: readonly string[];
}

/** A challenge for a login, and the entries that stand for it. */
export function newOffer(name: string): { challenge: string; entries: Entries } {
  const challenge = newId();
  const entries = new Map([[DEVICE_ID_KEY, deviceIdOf(name, challenge)]]).set(OFFER_KEY, String(Date.now()));
  return { challenge, entries };
}

/** What the browser calls the session whose login had this challenge. */
export function deviceIdOf(name: string, challenge: string): string {
  return addressOf(name, `device:${challenge}`);
}

/** The session's binding, as long as it can be read. */
export function bindingOf(entries: Entries): Binding | undefined {
  try {
    const binding = JSON.parse(entries.get(BINDING_KEY) ?? 'null');
    return typeof binding?.secret === 'string' ? binding : undefined;
  } catch {
    return undefined;
  }
}

/** The binding to the key that answered the login's challenge; `undefined` where it can't be answered (any more). */
export function bind(entries: Entries, key: JsonWebKey): Binding | undefined {
  const isOpen = isWithin(OFFER_LIFETIME, Number(entries.get(OFFER_KEY)));
  return isOpen ? { key, secret: newId(), since: Date.now(), answered: [] } : undefined;
}

/** The binding once this challenge is answered; `undefined` where it can't be (any more). */
export function answer(binding: Binding, challenge: string, seconds: number): Binding | undefined {
  const mark = challenge.slice(0, challenge.lastIndexOf('.'));
  // Without those of a clock that was ahead: they would count as newer than every challenge until then.
  const before = binding.answered.filter((one) => isWithin(seconds, Number.parseInt(one, 36)));
  const answered = [...before, mark].sort().slice(-MAX_ANSWERED);
  const isOpen = !before.includes(mark) && answered.includes(mark);
  return isOpen && isIssued('challenge', challenge, seconds, binding) ? { ...binding, answered } : undefined;
}

/** A signed text that begins with the instant. */
export function issue(kind: 'cookie' | 'challenge', { secret }: Binding): string {
  const since = Date.now().toString(36);
  const text = kind === 'cookie' ? since : `${since}.${newId().slice(0, 12)}`;
  return `${text}.${toSigner('secret', [secret]).sign(`${kind}.${text}`)}`;
}

/** Whether it was issued as this, in the last so many seconds. */
export function isIssued(kind: 'cookie' | 'challenge', value: string, seconds: number, { secret }: Binding): boolean {
  const at = value.lastIndexOf('.');
  const isLive = isWithin(seconds, Number.parseInt(value, 36));
  return isLive && toSigner('secret', [secret]).verify(`${kind}.${value.slice(0, at)}`, value.slice(at + 1));
}

/** Whether it was so few seconds ago. An instant that far ahead is one of a clock that was wrong, and was set back. */
export function isWithin(seconds: number, since: number): boolean {
  return Math.abs(Date.now() - since) < seconds * 1000;
}
