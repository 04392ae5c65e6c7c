import { randomBytes } from 'node:crypto';
import { millisecondsUntil } from './client.js';

/**
 * The name of one write, under which it is carried out at most once and never too late.
 *
 * A client that loses the connection sends unanswered commands again once it is connected, be it hours later; none can
 * be taken back. The record remembers the key, so that an update that arrives twice is carried out once. And the key is
 * a Buffer, which the client writes out as it is when it sends: wiped at the deadline, it makes a command that is still
 * sent do nothing. (Otherwise a write whose request got a 503 would overwrite what another process stored since.)
 */
export class IdempotencyKey {
  /** 48 random bits; zeros once wiped. */
  readonly bytes: Buffer = randomBytes(6);
  readonly #timer: NodeJS.Timeout;

  /** `deadline`: when the caller stops waiting, in `performance.now()` milliseconds. */
  constructor(deadline: number) {
    this.#timer = setTimeout(() => this.wipe(), millisecondsUntil(deadline));
  }

  /** Call it when the reply is there, or its caller waits no longer. */
  wipe(): void {
    clearTimeout(this.#timer);
    this.bytes.fill(0);
  }
}
