import { lstat, readdir, rmdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { Call, OwnerIndex } from 'koa-wsession';
import { codeOf, extendFile, makeFolder, removeFile, unlessMissing } from './atomic-file.js';
import type { Locks } from './lock.js';

/** The folder in the sessions' folder. */
export const OWNERS = 'owners';

/** How many entries are looked at in one go. */
const BATCH = 16;

/** How often a folder that somebody removes is made again before that is an error. */
const ATTEMPTS = 10;

export interface OwnersOptions {
  /** The sessions' folder. */
  readonly directory: string;
  readonly flush: boolean;
  readonly locks: Locks;
}

/**
 * An owner is a folder, and a session of his an empty file in it, which counts until its time of modification:
 *
 *     owners/<owner>/<address>
 *
 * Comparing that time and then setting it, or removing the file, are two steps, so both hold `owners/<address>.lock`.
 * To name a session no more is one step and takes no lock.
 */
export class Owners implements OwnerIndex {
  readonly folder: string;
  readonly #flush: boolean;
  readonly #locks: Locks;

  constructor({ directory, flush, locks }: OwnersOptions) {
    this.folder = join(directory, OWNERS);
    this.#flush = flush;
    this.#locks = locks;
  }

  /** @throws TypeError for what is no hash; the file system's error, or a LockError */
  async add(owner: string, key: string, until: number, { deadline }: Call): Promise<void> {
    if (!isAddress(owner) || !isAddress(key))
      throw new TypeError('An owner is listed under a hash, with the addresses of sessions.');
    const extend = (): Promise<void> =>
      this.#locks.hold(this.#lockOf(key), deadline, (guard) =>
        extendFile(this.#pathOf(owner, key), until, { guard, flush: this.#flush }),
      );
    for (let attempt = 1; ; attempt++) {
      try {
        await extend();
        break;
      } catch (error) {
        if (codeOf(error) !== 'ENOENT' || attempt === ATTEMPTS) throw error;
        await makeFolder(join(this.folder, owner), this.#flush); // isn't there yet, or was just swept
      }
    }
  }

  /** @throws the file system's error */
  async remove(owner: string, key: string): Promise<void> {
    if (isAddress(owner) && isAddress(key)) await unlink(this.#pathOf(owner, key)).catch(unlessMissing);
  }

  /** @throws the file system's error where it can't tell which there are */
  async keys(owner: string): Promise<string[]> {
    if (!isAddress(owner)) return [];
    const names = (await readdir(join(this.folder, owner)).catch(unlessMissing)) ?? [];
    const keys: string[] = [];
    const look = async (key: string): Promise<void> => {
      const state = await stateOf(this.#pathOf(owner, key));
      if (state === 'counts') keys.push(key);
      // Whoever only asks needn't know what keeps it there; the sweep will say.
      if (state === 'over') await this.removeIfOver(owner, key).catch(() => {});
    };
    for (let i = 0; i < names.length; i += BATCH)
      await Promise.all(names.slice(i, i + BATCH).filter(isAddress).map(look));
    return keys;
  }

  /**
   * Removes an entry whose time has passed; now or another time: one that somebody is adding isn't waited for.
   * @throws the file system's error, or a LockError
   */
  async removeIfOver(owner: string, key: string): Promise<boolean> {
    const path = this.#pathOf(owner, key);
    if ((await stateOf(path)) !== 'over') return false;
    return this.#locks.hold(this.#lockOf(key), performance.now(), async (guard) => {
      if ((await stateOf(path)) !== 'over') return false;
      await removeFile(path, { guard, flush: false });
      return true;
    });
  }

  /** Removes an owner's folder if there is nothing in it. */
  async removeIfEmpty(owner: string): Promise<void> {
    try {
      await rmdir(join(this.folder, owner));
    } catch (error) {
      // By POSIX, either of two codes says that there is something in it.
      if (!['ENOTEMPTY', 'EEXIST', 'ENOENT'].includes(codeOf(error) as string)) throw error;
    }
  }

  #pathOf(owner: string, key: string): string {
    return join(this.folder, owner, key);
  }

  #lockOf(key: string): string {
    return join(this.folder, key);
  }
}

/** Whether a key is what the core calls an address, or an owner; nothing else ever becomes part of a path. */
export function isAddress(key: string): boolean {
  return /^[\w-]{43}$/.test(key);
}

/** What isn't a file is somebody else's, and neither counts nor is over. */
async function stateOf(path: string): Promise<'counts' | 'over' | undefined> {
  const stats = await lstat(path).catch(unlessMissing);
  if (!stats?.isFile()) return undefined;
  return Date.now() < stats.mtimeMs ? 'counts' : 'over';
}
