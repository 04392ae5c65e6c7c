import { lstat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf, LockError, TimeoutError } from './errors.js';
import { readFolder } from './folder.js';
import { MARK_MODE, type RecordFiles, type RecordFilesOptions } from './record-files.js';

/** Milliseconds for which a file is left alone in any case: one that is being copied here isn't complete yet. */
const MIN_AGE = 5 * 60_000;

/** How many files are looked at in one go: so few that no request has to queue behind them for long. */
const BATCH = 16;

/** The parts of a name, see {@link RecordFiles.names}. */
type Match = [name: string, file: string, address: string, lock?: string, maker?: string];

export interface SweepOptions extends Pick<RecordFilesOptions, 'directory' | 'locks'> {
  readonly kinds: readonly RecordFiles[];
  /** Seconds that a session usually lives after its last change. */
  readonly expire: number;
  /** Seconds between two sweeps. */
  readonly interval: number | false;
}

/**
 * Removes abandoned files, at intervals and on demand. Any number of processes may sweep the same folder.
 *
 * Only a file's content says whether the session has expired, but one that was written less than `expire` ago isn't worth
 * reading, so a folder full of live sessions costs one `lstat` a file.
 */
export class Sweep {
  readonly #options: SweepOptions;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<number> | undefined;
  #stopped = false;
  #warned = false;

  constructor(options: SweepOptions) {
    this.#options = options;
    this.#schedule();
  }

  /** One sweep, or the one in progress. Returns how many files it removed. */
  run(): Promise<number> {
    this.#running ??= this.#sweep().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  /** Ends the sweep in progress, and all later ones. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#running?.catch(() => {});
  }

  /** At times that differ, so that processes that were started together don't sweep together. */
  #schedule(): void {
    const { interval } = this.#options;
    if (interval === false || this.#stopped) return;
    const milliseconds = interval * 1000 * (0.8 + 0.4 * Math.random());
    this.#timer = setTimeout(async () => {
      await this.run().catch((error) => this.#warn(error));
      this.#schedule();
    }, milliseconds).unref();
  }

  /** Once, since it would be the same every time. */
  #warn(error: Error): void {
    if (this.#warned) return;
    this.#warned = true;
    process.emitWarning(`Can't remove abandoned session files: ${error.message}`, { code: 'WSESSION_SWEEP' });
  }

  async #sweep(): Promise<number> {
    let removed = 0;
    let failure: { readonly error: unknown } | undefined;
    const look = async (name: string): Promise<void> => {
      try {
        if (await this.#removeIfAbandoned(name)) removed++;
      } catch (error) {
        // The session is in use, or the file is gone.
        if (error instanceof LockError || error instanceof TimeoutError || codeOf(error) === 'ENOENT') return;
        failure ??= { error }; // the other files are still to be removed
      }
    };
    try {
      for await (const names of readFolder(this.#options.directory, BATCH)) {
        if (this.#stopped) break;
        await Promise.all(names.map(look));
      }
    } catch (error) {
      failure ??= { error };
    }
    if (failure) throw failure.error;
    return removed;
  }

  async #removeIfAbandoned(name: string): Promise<boolean> {
    const { directory, expire, kinds, locks } = this.#options;
    // Files that aren't named exactly like the store's own belong to others.
    const files = kinds.find(({ names }) => names.test(name));
    if (!files) return false;
    const [, file, address, lock, maker] = files.names.exec(name) as unknown as Match;
    const path = join(directory, name);
    if (lock) return locks.breakAbandoned(path, join(directory, file + lock));
    if (maker) {
      if (!(await locks.isAbandoned(path, maker))) return false;
      await unlink(path);
      return true;
    }
    const stats = await lstat(path);
    const minAge = (stats.mode & 0o777) === MARK_MODE ? MIN_AGE : Math.max(expire * 1000, MIN_AGE);
    // A time in the future says nothing about the file's age.
    return stats.isFile() && Math.abs(Date.now() - stats.mtimeMs) > minAge && files.discard(address);
  }
}
