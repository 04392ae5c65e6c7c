import { addressOf, newId, toSigner } from '../kernel/token.js';
import type { Entries } from '../store/store.js';
import type { DeviceKey } from './device-proof.js';

/* What a session holds about the device it is bound to: first the offer of its login, then the binding. */

export const OFFER_KEY: string = '\0deviceOffer';
export const BINDING_KEY: string = '\0device';

/** Seconds for which the challenge of a login can be answered. */
const OFFER_LIFETIME = 60;
/** How many answered challenges a session remembers. Older ones count as answered, so the list stays short. */
const MAX_ANSWERED = 8;

/** A login's challenge, which is known by its hash alone, and when it was made. */
export interface Offer {
  readonly id: string;
  readonly since: number;
}

export interface Binding {
  /** What the browser calls it: the hash of the login's challenge. It is random, and no session id. */
  readonly id: string;
  readonly key: DeviceKey;
  /** Signs bound cookies and challenges, so that neither has to be stored. */
  readonly secret: string;
  readonly since: number;
  /** The latest challenges that were answered, sorted. */
  readonly answered: readonly string[];
}

/** A challenge for a login, and the entry that stands for it. */
export function newOffer(name: string): { challenge: string; entry: string } {
  const challenge = newId();
  const offer: Offer = { id: hashOf(name, challenge), since: Date.now() };
  return { challenge, entry: JSON.stringify(offer) };
}

/** Of a login's challenge, the id of the binding that it leads to; of an id, its group in the store's index. */
export function hashOf(name: string, text: string): string {
  return addressOf(name, `device:${text}`);
}

export function offerOf(entries: Entries): Offer | undefined {
  return read<Offer>(entries, OFFER_KEY, 'id');
}

export function bindingOf(entries: Entries): Binding | undefined {
  return read<Binding>(entries, BINDING_KEY, 'secret');
}

/** What is stored under a key, as long as it can be read and has this member. */
function read<T>(entries: Entries, key: string, member: keyof T): T | undefined {
  try {
    const value = JSON.parse(entries.get(key) ?? 'null');
    return typeof value?.[member] === 'string' ? value : undefined;
  } catch {
    return undefined;
  }
}

/** The binding to a key, where the challenge of this id is on offer. */
export function bind(entries: Entries, id: string, key: DeviceKey): Binding | undefined {
  const offer = offerOf(entries);
  if (offer?.id !== id || !isWithin(OFFER_LIFETIME, offer.since)) return undefined;
  return { id, key, secret: newId(), since: Date.now(), answered: [] };
}

/** The binding once this challenge is answered; `undefined` where it can't be (any more). */
export function answer(binding: Binding, challenge: string, seconds: number): Binding | undefined {
  // Without those of a clock that was ahead: they would count as newer than every challenge until then.
  const answered = binding.answered.filter((one) => isWithin(seconds, Number.parseInt(one, 36)));
  const mark = challenge.slice(0, challenge.lastIndexOf('.'));
  const [oldest = ''] = answered;
  const isOpen = !answered.includes(mark) && (answered.length < MAX_ANSWERED || mark > oldest);
  if (!isOpen || !isIssued('challenge', challenge, seconds, binding)) return undefined;
  return { ...binding, answered: [...answered, mark].sort().slice(-MAX_ANSWERED) };
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
