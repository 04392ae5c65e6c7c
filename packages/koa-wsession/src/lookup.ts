import { ask, hashOf, isPromise } from './ask.js';
import { announce, type RejectionReason } from './events.js';
import type { Settings } from './options.js';
import type { Awaitable, None, SessionRecord } from './store.js';
import { addressOf, type Signer, verifyId } from './token.js';

/** Where a session is: the key under which its store knows it, and the id that leads there unless the key is a token. */
export interface Place {
  readonly id: string | undefined;
  readonly key: string;
}

export interface Found {
  readonly place: Place;
  readonly record: SessionRecord;
}

/**
 * The session of the first of a visitor's tokens that leads to one. Synchronous where the store is. `limit`: characters
 * of the longest token that the transport carries.
 */
export function findSession(
  settings: Settings,
  signer: Signer | undefined,
  tokens: readonly string[],
  limit: number,
  from = 0,
): Awaitable<Found | undefined> {
  for (let i = from; i < tokens.length; i++) {
    const answer = lookUp(settings, signer, tokens[i] as string, limit);
    if (isPromise(answer))
      return answer.then((found) => found ?? findSession(settings, signer, tokens, limit, i + 1));
    if (answer) return answer;
  }
  return undefined;
}

function lookUp(
  settings: Settings,
  signer: Signer | undefined,
  token: string,
  limit: number,
): Awaitable<Found | undefined> {
  const place = token.length > limit ? 'oversized' : locate(settings, signer, token);
  if (typeof place === 'string') return reject(settings, () => addressOf(settings.name, token), place);

  const hash = (): string => hashOf(settings.store, settings.name, place.key);
  const receive = (record: SessionRecord | None): Found | undefined => {
    if (typeof record !== 'object') return reject(settings, hash, record ?? 'unknown');
    const end = Math.min(record.expiresAt, record.createdAt + settings.absoluteTimeout);
    return Date.now() < end ? { place, record } : reject(settings, hash, 'expired');
  };
  const answer = ask(settings, 'load', place.key, (store, call) => store.load(place.key, call));
  return isPromise(answer) ? answer.then(receive) : receive(answer);
}

function reject({ name }: Settings, hash: () => string, reason: RejectionReason): undefined {
  const message = () => ({ name, session: hash(), reason });
  if (reason === 'expired') announce('expired', message);
  announce('rejected', message);
}

/** Where a visitor's token leads, or why it can't be a token of ours. */
function locate(
  { store, name }: Settings,
  signer: Signer | undefined,
  token: string,
): Place | RejectionReason {
  if (store.capabilities.seals) return { id: undefined, key: token };
  const verified = verifyId(name, token, signer);
  return 'id' in verified ? { id: verified.id, key: addressOf(name, verified.id) } : verified.reason;
}
