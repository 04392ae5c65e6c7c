import { join } from 'node:path';
import { type Call, type None, packRecord, type SessionRecord, unpackRecord } from 'koa-wsession';
import { codeOf, makeFolder, readText, removeFile, replaceFile } from './atomic-file.js';
import type { Locks } from './lock.js';

/** A file that nobody else changes meanwhile, and what can be done with it. */
export interface HeldFile {
  /** What it holds now; `undefined` for whatever counts as no record. */
  readonly record: SessionRecord | undefined;
  write(record: SessionRecord): Promise<void>;
  remove(): Promise<void>;
}

export interface RecordFilesOptions {
  readonly directory: string;
  /** What stands before and after the address in a file's name: letters, digits, `_`, `-` and dots. */
  readonly prefix: string;
  readonly suffix: string;
  /** Whether to wait until the disk has what is written. */
  readonly flush: boolean;
  readonly locks: Locks;
}

/** Files of one kind in one folder, each with the record of the address that is in its name. */
export class RecordFiles {
  /** A regular expression for their names, with the address as its group. */
  readonly pattern: string;
  readonly #options: RecordFilesOptions;

  constructor(options: RecordFilesOptions) {
    const [before, after] = [options.prefix, options.suffix].map((text) => text.replaceAll('.', '\\.'));
    this.pattern = `${before}([\\w-]{43})${after}`;
    this.#options = options;
  }

  /** Takes no lock: a file is only ever replaced as a whole. */
  async read(address: string): Promise<SessionRecord | None> {
    if (!isAddress(address)) return undefined;
    const text = await readText(this.#pathOf(address));
    if (text === undefined) return undefined;
    const record = unpackRecord(address, text);
    if (!record) return 'corrupt';
    return Date.now() < record.expiresAt ? record : 'expired';
  }

  /**
   * One step from what a file holds to what it is to hold, that nobody else, in any process, is in at the same time.
   * Under a key that is no address there never is a record, and there can't be one.
   * @throws LockError where others are at it until the deadline; TypeError for a write under what is no address
   */
  async change<T>(address: string, { deadline }: Call, step: (file: HeldFile) => Promise<T>): Promise<T> {
    if (!isAddress(address)) return step(NOWHERE);
    const { directory, flush, locks } = this.#options;
    const path = this.#pathOf(address);
    const attempt = (): Promise<T> =>
      locks.hold(path, deadline, async (lock) => {
        const found = await this.read(address);
        return step({
          record: typeof found === 'object' ? found : undefined,
          write(record) {
            const temporary = `${path}.${lock.identity}.tmp`;
            return replaceFile(path, packRecord(address, record), { temporary, guard: lock, flush });
          },
          remove: () => removeFile(path, { guard: lock, flush }),
        });
      });
    try {
      return await attempt();
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw error;
      // The folder isn't there yet, or not any more.
      await makeFolder(directory, flush);
      return attempt();
    }
  }

  /** Removes a file that holds no record any more, unless somebody is writing it. Answers whether it did. */
  async discard(address: string): Promise<boolean> {
    const path = this.#pathOf(address);
    const isLive = async (): Promise<boolean> => typeof (await this.read(address)) === 'object';
    if (await isLive()) return false;
    return this.#options.locks.hold(path, performance.now(), async (lock) => {
      if (await isLive()) return false;
      await removeFile(path, { guard: lock, flush: false });
      return true;
    });
  }

  #pathOf(address: string): string {
    const { directory, prefix, suffix } = this.#options;
    return join(directory, prefix + address + suffix);
  }
}

/** Whether a key is what the core calls an address: nothing else ever becomes part of a path. */
function isAddress(key: string): boolean {
  return /^[\w-]{43}$/.test(key);
}

const NOWHERE: HeldFile = {
  record: undefined,
  async write() {
    throw new TypeError('A record is stored under an address, and under no other key.');
  },
  async remove() {},
};
