import { randomBytes } from 'node:crypto';

/**
 * One update's name, under which it is carried out at most once.
 *
 * A client that loses the connection keeps what wasn't answered and sends it again when it is connected, be it hours
 * later; nothing takes a command back. So the script gets a name to remember: the second time, it knows that it has
 * done its work. And the name is in a Buffer, which the client writes out as it is when it sends: once nobody waits
 * any more, it is wiped, and what is still sent does nothing. (Otherwise an update that was answered 503 would
 * overwrite what another process wrote and acknowledged meanwhile.)
 */
export class Operation {
  /** 48 random bits as 8 characters of base64url. */
  readonly name: Buffer = Buffer.from(randomBytes(6).toString('base64url'), 'latin1');
  readonly #timer: NodeJS.Timeout;

  /** `deadline`: when nobody waits any more, in `performance.now()` milliseconds. */
  constructor(deadline: number) {
    const left = Math.min(deadline - performance.now(), 2 ** 31 - 1); // what a timer takes
    this.#timer = setTimeout(() => this.end(), left);
  }

  /** The answer is there, or nobody waits for it. */
  end(): void {
    clearTimeout(this.#timer);
    this.name.fill(0);
  }
}
