/** Runs steps one at a time, in the order in which they were asked for. */
export class Queue {
  /** When the last of the steps is done; `undefined` while there is none. */
  #tail: Promise<unknown> | undefined;

  get isIdle(): boolean {
    return this.#tail === undefined;
  }

  /** The caller gets the step's outcome; later steps run regardless. */
  run<T>(step: () => Promise<T>): Promise<T> {
    const outcome = (this.#tail ?? Promise.resolve()).then(step);
    const done = (): void => {
      if (this.#tail === tail) this.#tail = undefined;
    };
    const tail: Promise<unknown> = outcome.then(done, done);
    this.#tail = tail;
    return outcome;
  }
}

/** A promise that knows whether anything waits for it, so that a failure that nothing awaits can be reported. */
export class ObservedPromise<T> extends Promise<T> {
  isAwaited = false;

  static override get [Symbol.species](): PromiseConstructor {
    return Promise;
  }

  // biome-ignore lint/suspicious/noThenProperty: a promise has one.
  override then<A = T, B = never>(
    onFulfilled?: ((value: T) => A | PromiseLike<A>) | null,
    onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    this.isAwaited = true;
    return super.then(onFulfilled, onRejected);
  }
}
