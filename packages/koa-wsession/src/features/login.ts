import { OptionError } from '../errors.js';
import { AUTHENTICATED_KEY, isUserKey, MAX_AGE_KEY, toEntryKey } from '../kernel/entries.js';
import { checkMaxAge } from '../kernel/lifetime.js';
import type { ReplacePlan, ReplaceSituation } from '../kernel/replacing.js';
import type { SessionObject } from '../kernel/session-object.js';
import { checkOptionNames } from '../store/options.js';
import type { Entries } from '../store/store.js';
import type { MaxAge } from '../types.js';
import { isFlashKey } from './flash.js';
import { OWNER_KEY, SID_KEY } from './owner-index.js';
import { encodeOwner, encodeSid, LABEL_KEY, type Owner } from './owners.js';
import { SEAT_KEY, type SeatFor, type SessionLimit } from './session-limit.js';

/** What a login may be given besides the owner. */
export interface LogInOptions {
  /** What a list of the owner's sessions calls this one, such as the browser's name. */
  readonly label?: string | undefined;
  /** The session's own lifetime, as `ctx.session.maxAge`. */
  readonly maxAge?: MaxAge | undefined;
  /**
   * The identity provider's name of this login's session, such as `sid` of an OpenID Connect ID token: `revoke({ sid })`
   * ends the sessions that have it. With several providers, put the issuer in front. It stays with the session, until
   * another login.
   */
  readonly sid?: string | undefined;
  /** Of an anonymous visitor's data, the keys that stay. Default: all. */
  readonly keep?: readonly string[] | undefined;
}

/**
 * Makes the session the owner's: in one step, awaited, a new id, the owner, the label and the time of authentication.
 *
 * The same owner's content stays. Of another owner's session, what was loaded is dropped. An anonymous visitor's content
 * moves over, or the keys in `keep`, and so do flash messages. What this request assigned before stays in any case.
 */
export async function logIn(
  { lifecycle, scope }: SessionObject,
  owner: Owner,
  options: LogInOptions = {},
  limit?: SessionLimit,
): Promise<void> {
  const text = encodeOwner(owner);
  checkOptionNames('logIn()', options, ['label', 'maxAge', 'sid', 'keep']);
  const { label, maxAge, sid, keep } = options;
  if (label !== undefined && typeof label !== 'string') throw new OptionError('label', label, 'a string');
  if (maxAge !== undefined) checkMaxAge(maxAge, scope.settings.lifetimes.expire);
  if (keep !== undefined && !Array.isArray(keep)) throw new OptionError('keep', keep, 'a list of keys');

  const add = new Map([
    [OWNER_KEY, text],
    [AUTHENTICATED_KEY, String(Date.now())],
  ]);
  if (sid !== undefined) add.set(SID_KEY, encodeSid(sid));
  if (label) add.set(LABEL_KEY, JSON.stringify(label));
  if (maxAge !== undefined) add.set(MAX_AGE_KEY, JSON.stringify(maxAge));
  const extension = scope.settings.extension?.beginLogIn(scope);
  for (const [key, entry] of extension?.entries ?? []) add.set(key, entry);
  const store = (seatFor?: SeatFor): Promise<void> =>
    lifecycle.replace(async (situation) => {
      if (seatFor) add.set(SEAT_KEY, JSON.stringify(await seatFor(situation)));
      return planFor(situation, text, add, keep);
    });
  await (limit ? limit.guard(text, store) : store());
  extension?.onStored();
}

function planFor(
  { entries, successor }: ReplaceSituation,
  owner: string,
  add: ReadonlyMap<string, string>,
  keep: readonly string[] | undefined,
): ReplacePlan {
  const before = entries.get(OWNER_KEY);
  const kept = keep && new Set(keep.map(toEntryKey));
  const isData = (key: string): boolean => isUserKey(key) || key === MAX_AGE_KEY;
  const isKept = (key: string): boolean => isData(key) && (!kept || kept.has(key));
  const keeps = {
    anonymous: (key: string) => isKept(key) || isFlashKey(key),
    same: (key: string) => isData(key) || isFlashKey(key) || key === LABEL_KEY,
    another: () => false,
  };
  const pick = (from: Entries, isPicked: (key: string) => boolean): Entries =>
    new Map([...from].filter(([key]) => isPicked(key)));
  return {
    keeps: keeps[before === undefined ? 'anonymous' : before === owner ? 'same' : 'another'],
    // A second click comes with the id that the first one replaced: it goes on from there, for the same owner.
    base: successor?.get(OWNER_KEY) === owner ? pick(successor, isData) : NONE,
    add,
    resetsAge: before !== undefined && before !== owner,
    // Clicked twice at once: the one that comes second starts with the anonymous content that it loaded.
    ifEnded: (how) => (how === 'replaced' && before === undefined ? pick(entries, isKept) : NONE),
    isUnique: isFlashKey,
  };
}

const NONE: Entries = new Map();
