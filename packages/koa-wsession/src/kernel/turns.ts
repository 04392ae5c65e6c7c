import { setTimeout as delay } from 'node:timers/promises';
import { UnavailableError } from '../errors.js';
import type { Entries } from '../store/store.js';

/** The longest that a turn waits for the one before once that has begun, in milliseconds. */
const PATIENCE = 1000;

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
    for (let tries = 1; !(await attempt()); tries++)
      if (tries > 1) await delay(Math.random() * Math.min(2 ** tries, 100));
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
