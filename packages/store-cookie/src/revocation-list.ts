import type { Absent, DestroyCall, Replacement } from 'koa-wsession/store';

/** Whether a session is alive, or else what `load` returns in its place. */
export type Standing = 'alive' | Absent;

/**
 * The addresses of sessions that this process ended, each until no token of the session can be valid. An address takes
 * about 100 bytes.
 *
 * A new address goes into the young half. Once all addresses of the old half are due, that half is dropped and the
 * young one becomes the old one. So nothing searches for what is due, and an address stays longer than it must: up to
 * twice as long while others follow.
 *
 * A half is due when its instant has come by the clock *and* as much time has really passed: the clock may be set
 * forward by mistake and back again, and what was dropped meanwhile would be missing.
 */
export class RevocationList {
  #young: Half = new Half();
  #old: Half = new Half();
  /** Marks are larger than addresses, and live for a minute. */
  readonly #marks: Map<string, Replacement> = new Map();

  standingOf(address: string): Standing {
    if (!this.#young.addresses.has(address) && !this.#old.addresses.has(address)) return 'alive';
    const mark = this.#marks.get(address);
    return mark && Date.now() < mark.until ? mark : undefined;
  }

  /** Ends a session, whose last token expires at `until` (milliseconds since the epoch). Returns what it was before. */
  end(address: string, until: number, { replaced }: Pick<DestroyCall, 'replaced'> = {}): Standing {
    if (this.#old.isDue()) {
      this.#old = this.#young;
      this.#young = new Half();
    }
    this.#young.add(address, Math.max(until, replaced?.until ?? 0));
    if (replaced) {
      this.#marks.set(address, replaced);
      setTimeout(() => this.#marks.delete(address), replaced.until - Date.now()).unref();
    }
    return 'alive';
  }
}

class Half {
  readonly addresses: Set<string> = new Set();
  /** When the last address is due, by the clock. */
  #until = 0;
  /** The same in `performance.now()` milliseconds, which can't be set. */
  #untilUptime = 0;

  add(address: string, until: number): void {
    this.addresses.add(address);
    this.#until = Math.max(this.#until, until);
    this.#untilUptime = Math.max(this.#untilUptime, performance.now() + until - Date.now());
  }

  isDue(): boolean {
    return this.#until <= Date.now() && this.#untilUptime <= performance.now();
  }
}
