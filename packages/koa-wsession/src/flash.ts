import { randomBytes } from 'node:crypto';
import type { Lifecycle } from './commit.js';
import { checkStorable, toFlashKey } from './entries.js';

/** A message as it is stored: with a mark of its own, by which it is known when two requests reach for it. */
type Message = readonly [mark: string, value: unknown];

/** How many taken messages are remembered: far more than requests can be at work at a time. */
const MAX_TAKEN = 10_000;

/**
 * The messages that requests of this process took. A parallel request may have loaded the session before the message was
 * gone from the store: it asks here, and comes away empty.
 */
export class TakenMessages {
  readonly #marks: Set<string> = new Set();

  /** Whether the caller is the first to take it. */
  take(mark: string): boolean {
    if (this.#marks.has(mark)) return false;
    this.#marks.add(mark);
    if (this.#marks.size > MAX_TAKEN) this.#marks.delete(this.#marks.values().next().value as string);
    return true;
  }

  /** It wasn't taken after all: whoever took it could not store that. */
  putBack(mark: string): void {
    this.#marks.delete(mark);
  }
}

export function leaveMessage(lifecycle: Lifecycle, key: string, value: unknown): void {
  lifecycle.beforeWrite();
  checkStorable(toFlashKey(key), value);
  lifecycle.entries.set(toFlashKey(key), [randomBytes(9).toString('base64url'), value] satisfies Message);
}

export function takeMessage(lifecycle: Lifecycle, key: string): unknown {
  const entry = toFlashKey(key);
  const message = lifecycle.entries.get(entry) as Message | undefined;
  if (!message) return undefined;
  lifecycle.beforeWrite();
  if (!lifecycle.claim(message[0])) return undefined;
  lifecycle.entries.delete(entry);
  return message[1];
}
