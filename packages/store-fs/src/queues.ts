/** Runs one piece of work per key at a time, in the order of the calls, and never before `run` returns. */
export class Queues {
  /** The end of the last work of each key. Never rejects. */
  readonly #ends: Map<string, Promise<unknown>> = new Map();

  run<T>(key: string, work: () => Promise<T>): Promise<T> {
    const turn = (this.#ends.get(key) ?? Promise.resolve()).then(work);
    const end: Promise<unknown> = turn
      .catch(() => {})
      .then(() => this.#ends.get(key) === end && this.#ends.delete(key));
    this.#ends.set(key, end);
    return turn;
  }
}
