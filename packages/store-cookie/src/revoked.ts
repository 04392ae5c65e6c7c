/**
 * The addresses of sessions that ended, each until no token of it could be valid any more. One takes about 100 bytes.
 *
 * It has two halves: an address gets into the young one; once all of the old one are due, these go together, and the
 * young one becomes the old one. So there is no timer, and nothing is searched for what is due. In return an address
 * stays longer than it has to, up to twice as long while others follow, which does no harm but to memory.
 */
export class Revoked {
  #young: Half = { addresses: new Set(), until: 0 };
  #old: Half = { addresses: new Set(), until: 0 };

  has(address: string): boolean {
    return this.#young.addresses.has(address) || this.#old.addresses.has(address);
  }

  /** `until` in milliseconds since the epoch. */
  add(address: string, until: number): void {
    if (this.#old.until <= Date.now()) {
      this.#old = this.#young;
      this.#young = { addresses: new Set(), until: 0 };
    }
    this.#young.addresses.add(address);
    this.#young.until = Math.max(this.#young.until, until);
  }
}

interface Half {
  readonly addresses: Set<string>;
  /** When the last of them is due. */
  until: number;
}
