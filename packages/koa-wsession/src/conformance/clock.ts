/** Moves `Date.now()`, and nothing else: expiry without waiting. */
export class Clock {
  readonly #now: () => number = Date.now;
  #offset = 0;

  advance(milliseconds: number): void {
    this.#offset += milliseconds;
    if (Date.now === this.#now) Date.now = () => this.#now() + this.#offset;
  }

  /** Stops the clock, which then moves only by `advance`. Answers the time. */
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
