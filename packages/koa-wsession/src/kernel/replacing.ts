import type { Entries } from '../store/store.js';

/** Milliseconds for which a replaced id is known as such: longer than requests with the old cookie are in flight. */
export const MARK_LIFETIME = 60_000;

/** How a session goes on under a new id. What this request assigned stays in any case. */
export interface ReplacePlan {
  /** Which of the loaded entries move over. */
  readonly keeps: (key: string) => boolean;
  /** Entries of the new record that the request's own override. */
  readonly base?: Entries;
  /** Entries of the new record that override all others. */
  readonly add: Entries;
  /** Whether the session's age starts anew. */
  readonly resetsAge: boolean;
  /** If the session was replaced, or ended otherwise, meanwhile: what it starts again with; `undefined`: it fails. */
  readonly ifEnded: (how: 'replaced' | 'none') => Entries | undefined;
  /**
   * Whether an entry must never be in two sessions, as flash messages mustn't. Where the session starts again because the old
   * one ended, such an entry doesn't move over if it had been stored.
   */
  readonly isUnique: (key: string) => boolean;
}

/** What there is when a plan is made. */
export interface ReplaceSituation {
  /** The entries that were loaded. */
  readonly entries: Entries;
  /** Of a request with a replaced id: the entries of the session that took its place. */
  readonly successor: Entries | undefined;
  /** The key of the session that the request came with, or of the one that took its place; `undefined` without one. */
  readonly key: string | undefined;
}

/** The plan of `regenerate()`: everything moves over. */
export const SAME_CONTENT: ReplacePlan = {
  keeps: () => true,
  add: new Map(),
  resetsAge: false,
  ifEnded: () => undefined,
  isUnique: () => false,
};
