import { ask, hashOf } from './ask.js';
import { decode } from './codec.js';
import { LABEL_KEY, OWNER_KEY, UPDATED_KEY } from './entries.js';
import { OptionError, UnsupportedError } from './errors.js';
import { announce } from './events.js';
import type { Settings } from './options.js';
import { keyOf } from './session.js';
import type { Awaitable, OwnerIndex, SessionRecord } from './store.js';
import { addressOf } from './token.js';
import type { Session } from './types.js';

/** One of an owner's sessions, as for a list of devices. */
export interface OwnedSession {
  /** Stands for the session, in `revoke`. It is a hash, from which no id can be had. */
  readonly ref: string;
  readonly createdAt: Date;
  /** When it was changed, or renewed, last. */
  readonly updatedAt: Date;
  readonly expiresAt: Date;
  /** It is the session that `list` was given. */
  readonly current: boolean;
  /** What the app set as `ctx.session.label`. */
  readonly label: string | undefined;
}

/** Which of an owner's sessions `revoke` ends: all but one, or only one. */
export interface RevokeOptions {
  /** All but this one, such as `ctx.session`. */
  readonly except?: Session;
  /** Only the one with this `ref`. */
  readonly only?: string;
}

/** The owner's sessions that are alive, newest first. */
export async function listOwned(
  settings: Settings,
  owner: string,
  current?: Session,
): Promise<OwnedSession[]> {
  const currentKey = current && keyOf(current);
  const index = indexOf(settings, owner);
  const found = await loadOwned(settings, index, await namedKeys(settings, index));
  return found
    .map(({ key, record: { entries, createdAt, expiresAt } }) => ({
      ref: key,
      createdAt: new Date(createdAt),
      updatedAt: new Date(Number(entries.get(UPDATED_KEY) ?? createdAt)),
      expiresAt: new Date(expiresAt),
      current: key === currentKey,
      label: readLabel(entries.get(LABEL_KEY)),
    }))
    .sort((a, b) => b.createdAt.getTime() - a.createdAt.getTime());
}

/** Ends the owner's sessions, finally; answers how many. */
export async function revokeOwned(
  settings: Settings,
  owner: string,
  { except, only }: RevokeOptions = {},
): Promise<number> {
  const index = indexOf(settings, owner);
  const kept = except && keyOf(except);
  const ended = new Set<string>();
  for (let before = '', looks = 0; ; ) {
    const keys = (await namedKeys(settings, index))
      .filter((key) => key !== kept && (only ?? key) === key && !ended.has(key))
      .sort();
    // Two looks at which nothing changes: one that is regenerated at this moment goes on under an id that comes into the
    // index before its record, and its record comes before the old one's end.
    const state = `${ended.size} ${keys.join()}`;
    looks = state === before ? looks + 1 : 0;
    if (looks === 2 || keys.length === 0) return ended.size;
    before = state;
    for (const { key } of await loadOwned(settings, index, keys)) {
      const record = await ask(settings, 'destroy', key, (store, call) => store.destroy(key, call));
      if (!record) continue;
      ended.add(key);
      announce('destroyed', () => ({ name: settings.name, session: key }));
      await ask(settings, 'save', key, (_, call) => index.owners.remove(index.hash, key, call));
    }
  }
}

/** What stands for a session towards the outside. */
export function refOf({ store, name }: Settings, session: Session): string | undefined {
  const key = keyOf(session);
  return key === undefined ? undefined : hashOf(store, name, key);
}

/** What one owner's sessions are found by. */
interface OwnedIndex {
  readonly owners: OwnerIndex;
  /** The owner, to the index. */
  readonly hash: string;
  /** The owner, as a session's entry holds it. */
  readonly text: string;
}

function namedKeys(settings: Settings, { owners, hash }: OwnedIndex): Awaitable<readonly string[]> {
  return ask(settings, 'load', hash, (_, call) => owners.keys(hash, call));
}

/** Of these keys, the sessions that are there, and still the owner's. */
async function loadOwned(
  settings: Settings,
  { text }: OwnedIndex,
  keys: readonly string[],
): Promise<Array<{ key: string; record: SessionRecord }>> {
  const found = await Promise.all(
    keys.map(async (key) => {
      const record = await ask(settings, 'load', key, (store, call) => store.load(key, call));
      const isOwned =
        typeof record === 'object' &&
        record.entries.get(OWNER_KEY) === text &&
        Date.now() < record.createdAt + settings.absoluteTimeout;
      return isOwned ? [{ key, record }] : [];
    }),
  );
  return found.flat();
}

function indexOf({ store, name }: Settings, owner: string): OwnedIndex {
  if (typeof owner !== 'string' || owner === '')
    throw new OptionError('owner', owner, 'a string that is not empty');
  const { owners } = store;
  if (!owners) {
    throw new UnsupportedError(
      "A list of an owner's sessions",
      'use one that keeps them on the server, such as store-fs or store-redis.',
    );
  }
  const text = JSON.stringify(owner);
  return { owners, hash: addressOf(name, text), text };
}

function readLabel(text: string | undefined): string | undefined {
  try {
    return text === undefined ? undefined : String(decode(text));
  } catch {
    return undefined;
  }
}
