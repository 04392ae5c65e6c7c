import { setTimeout as delay } from 'node:timers/promises';
import { UnavailableError } from '../errors.js';
import type { Awaitable, Entries } from '../store/store.js';
import { assertKey } from './change-tracker.js';
import { type EncodeOptions, encode } from './codec.js';
import { applyTo, NO_CHANGES, toUserKey } from './entries.js';
import type { SessionState } from './session-state.js';
import type { SessionWriter } from './session-writer.js';

/** From the values of entries to their new ones. */
export type Change = (values: unknown[]) => Awaitable<unknown[]>;

/** The new value of an entry that is to be deleted. */
export const DELETED: unique symbol = Symbol('deleted');

/**
 * One attempt to change entries by compare and set, together with whatever else is to be stored. Returns whether it
 * succeeded; if not, the state has the actual values.
 *
 * `change` gets copies, so that a change in place that comes to nothing leaves no trace.
 */
export async function tryUpdate(
  { state, writer, encoding }: { state: SessionState; writer: SessionWriter; encoding: EncodeOptions },
  keys: readonly string[],
  change: Change,
): Promise<boolean> {
  const { tracker } = state;
  for (const key of keys) assertKey(key);
  const before = new Map(keys.map((key) => [key, tracker.text(key)]));
  const values = await change(keys.map((key) => tracker.decode(before.get(key))));

  const pending = tracker.changes() ?? NO_CHANGES;
  const set = new Map(pending.set);
  const removed = new Set(pending.delete);
  for (const [index, key] of keys.entries()) {
    set.delete(key);
    removed.delete(key);
    if (values[index] === DELETED) removed.add(key);
    else set.set(key, encode(values[index], toUserKey(key), encoding));
  }
  const changes = { set, delete: [...removed] };

  if (state.loaded) {
    // A key that this request has assigned goes on from that value, whatever other requests did: it isn't compared.
    const expect = new Map([...before].filter(([key, text]) => text === tracker.stored.get(key)));
    const actual = await writer.update(state, state.loaded, changes, expect);
    for (const [key, text] of actual ?? []) tracker.refresh(key, text, before.get(key));
    if (actual) return false;
  } else if (set.size > 0) {
    await writer.create(state, applyTo(tracker.stored, changes));
  }
  for (const key of keys) tracker.refresh(key, set.get(key), before.get(key));
  return true;
}

/** The longest that a turn waits for the one before once that has begun, in milliseconds. */
const PATIENCE = 1000;

/** How often an update is tried: no crowd makes so many conflicts, but a store that is broken. */
const MAX_TRIES = 200;

/** The entries that a turn goes on from, and what it learns about them. */
interface Tracker {
  readonly stored: Entries;
  refresh(key: string, text: string | undefined, before: string | undefined): void;
}

interface Turn {
  readonly begun: Promise<void>;
  /** What it stored. */
  readonly done: Promise<Entries>;
}

/**
 * Lets the `update()`s of one session in this process take turns, so that a crowd on one key doesn't make each other
 * try again: each begins with the value that the one before stored. The store decides all the same, so a turn that
 * takes too long is overtaken.
 */
export class Turns {
  readonly #last: Map<string, Turn> = new Map();

  /** Attempts until it succeeds, after the turns that were asked for before. */
  async take(
    session: string,
    tracker: Tracker,
    keys: readonly string[],
    attempt: () => Promise<boolean>,
  ): Promise<void> {
    const before = this.#last.get(session);
    let begin = (): void => undefined;
    const begun = new Promise<void>((resolve) => {
      begin = resolve;
    });
    const turn = { begun, done: this.#take(before, begin, tracker, keys, attempt) };
    this.#last.set(session, turn);
    try {
      await turn.done;
    } finally {
      if (this.#last.get(session) === turn) this.#last.delete(session);
    }
  }

  async #take(
    before: Turn | undefined,
    begin: () => void,
    tracker: Tracker,
    keys: readonly string[],
    attempt: () => Promise<boolean>,
  ): Promise<Entries> {
    const stored = before && (await patiently(before).finally(begin));
    begin();
    if (stored) for (const key of keys) tracker.refresh(key, stored.get(key), tracker.stored.get(key));
    // After a second conflict, another process is at it, too.
    for (let tries = 1; !(await attempt()); tries++) {
      if (tries >= MAX_TRIES) throw new UnavailableError(`The session store failed: ${MAX_TRIES} conflicts in a row`);
      if (tries > 1) await delay(Math.random() * Math.min(2 ** tries, 100));
    }
    return tracker.stored;
  }
}

/** What the turn before stored; unknown if it failed or takes too long. If the store is down, all that wait fail with it. */
async function patiently(before: Turn): Promise<Entries | undefined> {
  await before.begun; // a long queue is no reason to overtake
  const abort = new AbortController();
  try {
    return await Promise.race([before.done, delay(PATIENCE, undefined, { signal: abort.signal })]);
  } catch (error) {
    if (error instanceof UnavailableError) throw error;
    return undefined;
  } finally {
    abort.abort();
  }
}
