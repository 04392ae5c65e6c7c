/** Moves `Date.now()` and nothing else, so that tests of expiry don't wait. */
export class Clock {
  readonly #now: () => number = Date.now;
  #offset = 0;

  advance(milliseconds: number): void {
    this.#offset += milliseconds;
    if (Date.now === this.#now) Date.now = () => this.#now() + this.#offset;
  }

  /** Stops the clock; from here on only `advance` moves it. Returns the time. */
  freeze(): number {
    const start = Date.now();
    this.#offset = 0;
    Date.now = () => start + this.#offset;
    return start;
  }

  restore(): void {
    Date.now = this.#now;
    this.#offset = 0;
  }
}
