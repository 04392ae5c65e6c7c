import { lstat, opendir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf } from './atomic-file.js';
import { IDENTITY, LockError, type Locks } from './lock.js';
import type { RecordFiles } from './record-files.js';

/** Milliseconds for which a file is left alone in any case: one that is being copied here isn't complete yet. */
const MIN_AGE = 5 * 60_000;

/** How many files are looked at in one go: so few that no request has to queue behind them for long. */
const BATCH = 16;

export interface SweepOptions {
  readonly directory: string;
  readonly kinds: readonly RecordFiles[];
  /** Seconds that a session usually lives after its last change. */
  readonly expire: number;
  /** Seconds between two sweeps. */
  readonly interval: number | false;
  readonly locks: Locks;
}

/**
 * Removes abandoned files, at intervals and on demand. Any number of processes may sweep the same folder.
 *
 * Only a file's content says whether the session is over, but one that was written less than `expire` ago isn't worth
 * reading, so a folder full of live sessions costs one `lstat` a file.
 */
export class Sweep {
  readonly #options: SweepOptions;
  readonly #kinds: ReadonlyArray<{ readonly files: RecordFiles; readonly names: RegExp }>;
  readonly #minAge: number;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<number> | undefined;
  #stopped = false;
  #warned = false;

  constructor(options: SweepOptions) {
    this.#options = options;
    // What isn't named exactly like one of our files is somebody else's.
    this.#kinds = options.kinds.map((files) => {
      const leftover = `(\\.lock)(?:\\.${IDENTITY})?|\\.(${IDENTITY})\\.tmp`;
      return { files, names: new RegExp(`^(${files.pattern})(?:${leftover})?$`) };
    });
    this.#minAge = Math.max(options.expire * 1000, MIN_AGE);
    this.#schedule();
  }

  /** One sweep, or the one that is at work already. Answers how many files it removed. */
  run(): Promise<number> {
    this.#running ??= this.#sweep().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  /** Ends the sweep at work, and there will be no other. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#running?.catch(() => {});
  }

  /** At times that differ, so that processes that were started together don't sweep together. */
  #schedule(): void {
    const { interval } = this.#options;
    if (interval === false || this.#stopped) return;
    this.#timer = setTimeout(() => void this.#runAndGoOn(), interval * 1000 * (0.8 + 0.4 * Math.random()));
    this.#timer.unref();
  }

  async #runAndGoOn(): Promise<void> {
    await this.run().catch((error) => this.#warn(error));
    this.#schedule();
  }

  /** Once, since it would be the same every time. */
  #warn(error: unknown): void {
    if (this.#warned) return;
    this.#warned = true;
    const { message } = error as Error;
    process.emitWarning(`Abandoned session files can't be removed: ${message}`, { code: 'WSESSION_SWEEP' });
  }

  async #sweep(): Promise<number> {
    let removed = 0;
    let failure: { readonly error: unknown } | undefined;
    const look = async (name: string): Promise<void> => {
      try {
        if (await this.#removeIfAbandoned(name)) removed++;
      } catch (error) {
        // A session in use isn't abandoned, a file that is gone needs no removing; and a file that can't be removed
        // must not keep all the others.
        if (!(error instanceof LockError) && codeOf(error) !== 'ENOENT') failure ??= { error };
      }
    };

    let batch: Array<Promise<void>> = [];
    try {
      // Read on as it goes: a folder may hold millions.
      for await (const { name } of await opendir(this.#options.directory, { bufferSize: 256 })) {
        if (this.#stopped) break;
        batch.push(look(name));
        if (batch.length < BATCH) continue;
        await Promise.all(batch);
        batch = [];
      }
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') failure ??= { error };
    }
    await Promise.all(batch);
    if (failure) throw failure.error;
    return removed;
  }

  async #removeIfAbandoned(name: string): Promise<boolean> {
    for (const { files, names } of this.#kinds) {
      const match = names.exec(name);
      if (match) return this.#removeOurs(files, match);
    }
    return false;
  }

  async #removeOurs(files: RecordFiles, match: RegExpExecArray): Promise<boolean> {
    const [name, file, address, lock, maker] = match as unknown as [string, string, string, string?, string?];
    const { directory, locks } = this.#options;
    const path = join(directory, name);
    if (lock) return locks.breakAbandoned(path, join(directory, file + lock));
    if (maker) {
      if (!(await locks.isAbandoned(path, maker))) return false;
      await unlink(path);
      return true;
    }
    const stats = await lstat(path);
    if (!stats.isFile() || Date.now() - stats.mtimeMs < this.#minAge) return false;
    return files.discard(address);
  }
}
