import { LateError } from '../errors.js';

/** What {@link LateChanges} asks of a session. */
export interface LateSource {
  /** Waits for calls in progress, and ends what the handler ended; throws a failure that nothing awaits. */
  settle(): Promise<void>;
  /** The keys whose change isn't stored. */
  unsavedKeys(): readonly string[];
}

/** Reports changes that came after the response: as one event a request, which changes made by its listeners don't repeat. */
export class LateChanges {
  readonly #source: LateSource;
  readonly #report: (error: unknown) => void;
  #scheduled = false;
  #reported = false;

  constructor(source: LateSource, report: (error: unknown) => void) {
    this.#source = source;
    this.#report = report;
  }

  /** Looks for changes once the code that runs now is done. */
  watch(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => void this.#look());
  }

  async #look(): Promise<void> {
    this.#scheduled = false;
    try {
      await this.#source.settle();
      const keys = this.#source.unsavedKeys();
      if (keys.length > 0) throw new LateError(keys);
    } catch (error) {
      if (this.#reported) return;
      this.#reported = true;
      this.#report(error);
    }
  }
}
