import { mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import {
  applyChanges,
  type Call,
  type Capabilities,
  type Changes,
  type Created,
  checkOption,
  checkStoreOptions,
  findConflict,
  packRecord,
  type SessionRecord,
  type Store,
  type StoreOptions,
  type Updated,
  unpackRecord,
} from 'koa-wsession';
import { codeOf, readText, removeFile, replaceFile } from './atomic-file.js';
import { type Lock, Locks } from './lock.js';
import { Sweep } from './sweep.js';

/** What {@link FsStore} takes, beside what every store takes. */
export interface FsStoreOptions extends StoreOptions {
  /**
   * The folder of the session files. Relative to the working directory at construction; made (mode 0700) when the
   * first session is written, and again should it disappear. Default `./sessions`.
   */
  directory?: string;
  /**
   * A session's file name: `%s`, once, stands for its address, a hash. At most 100 of the characters
   * `A-Z a-z 0-9 _ . -`, not beginning with a dot and not ending in a dot, `.lock` or `.tmp`.
   * Default `weppy_%s.sess`.
   */
  filenameTemplate?: string;
  /**
   * Waits until the disk has a write before it is acknowledged, so that it outlives a power cut. Default `true`.
   * `false`: it outlives the process, and the operating system writes it down in its own time.
   */
  fsync?: boolean;
  /**
   * Seconds between two sweeps for abandoned sessions, give or take a fifth; `false` for none: call
   * {@link FsStore.sweep} yourself. At most 1,000,000. Default 300.
   */
  sweepInterval?: number | false;
}

/**
 * Sessions in files, one each, shared by any number of processes of one machine.
 *
 * A file is only ever replaced as a whole, by renaming a finished one over it, so reading takes no lock. Whatever
 * replaces or removes a file holds the session's lock, so that no change is lost, and none brings back what ended.
 *
 * ```ts
 * app.use(session(new FsStore({ directory: '/var/lib/shop/sessions' })));
 * ```
 */
export class FsStore implements Store {
  readonly expire: number;
  readonly secure: boolean;
  readonly domain: string | undefined;
  readonly capabilities: Capabilities = { seals: false, merges: true, revokes: true };
  readonly #directory: string;
  readonly #prefix: string;
  readonly #suffix: string;
  readonly #flush: boolean;
  readonly #locks: Locks = new Locks();
  readonly #sweep: Sweep;

  /**
   * Touches no file: a process starts also while the disk is out of order.
   * @throws OptionError
   */
  constructor(options: FsStoreOptions = {}) {
    const own = ['directory', 'filenameTemplate', 'fsync', 'sweepInterval'];
    ({
      expire: this.expire,
      secure: this.secure,
      domain: this.domain,
    } = checkStoreOptions('FsStore', options, own));
    const { directory = './sessions', filenameTemplate = 'weppy_%s.sess' } = options;
    const { fsync = true, sweepInterval = 300 } = options;
    checkOption('directory', directory, isPath, 'the path of a folder, not empty and without NUL');
    checkOption(
      'filenameTemplate',
      filenameTemplate,
      isTemplate,
      'a file name with one %s, at most 100 letters, digits, "_", "." and "-", ' +
        'not beginning with a dot and not ending in a dot, .lock or .tmp',
    );
    checkOption('fsync', fsync, (value) => typeof value === 'boolean', 'true or false');
    checkOption(
      'sweepInterval',
      sweepInterval,
      isInterval,
      'a number of seconds over 0, at most 1,000,000, or false',
    );

    this.#directory = resolve(directory);
    [this.#prefix, this.#suffix] = filenameTemplate.split('%s') as [string, string];
    this.#flush = fsync;
    this.#sweep = new Sweep({
      directory: this.#directory,
      prefix: this.#prefix,
      suffix: this.#suffix,
      expire: this.expire,
      interval: sweepInterval,
      locks: this.#locks,
      isLive: async (address) => (await this.load(address)) !== undefined,
    });
  }

  /** @throws the file system's error where it can't tell whether there is a session */
  async load(key: string): Promise<SessionRecord | undefined> {
    if (!isAddress(key)) return undefined;
    const text = await readText(this.#pathOf(key));
    const record = text === undefined ? undefined : unpackRecord(key, text);
    return record && Date.now() < record.expiresAt ? record : undefined;
  }

  /** @throws TypeError for a key that is no address; the file system's error, or a LockError */
  async create(key: string, record: SessionRecord, call: Call): Promise<Created> {
    if (!isAddress(key))
      throw new TypeError('A session is stored under its address, and under no other key.');
    const text = packRecord(key, record);
    return this.#locked(key, call, async (path, lock) => {
      if (await this.load(key)) return { outcome: 'exists' };
      await this.#write(path, text, lock);
      return { outcome: 'created' };
    });
  }

  /** @throws the file system's error, or a LockError */
  async update(key: string, changes: Changes, call: Call): Promise<Updated> {
    if (!isAddress(key)) return { outcome: 'gone' };
    return this.#locked(key, call, async (path, lock) => {
      const record = await this.load(key);
      if (!record) return { outcome: 'gone' };
      const conflict = findConflict(record, changes);
      if (conflict) return conflict;
      await this.#write(path, packRecord(key, applyChanges(record, changes)), lock);
      return { outcome: 'updated' };
    });
  }

  /** @throws the file system's error, or a LockError */
  async destroy(key: string, call: Call): Promise<SessionRecord | undefined> {
    if (!isAddress(key)) return undefined;
    return this.#locked(key, call, async (path, lock) => {
      const record = await this.load(key);
      if (record) await removeFile(path, { guard: lock, flush: this.#flush });
      return record;
    });
  }

  /**
   * Removes what has expired and what killed processes left behind, and answers how many files that were. The store
   * does so by itself every `sweepInterval` seconds; with `sweepInterval: false` it is for a job of yours to call.
   * While one is at work, it is the one that is answered.
   * @throws the first error that it met, after it has done what it could
   */
  sweep(): Promise<number> {
    return this.#sweep.run();
  }

  /**
   * Ends the sweeping, for good. Nothing else is kept open, so the other calls still work. May be called twice;
   * a process may also end without it.
   */
  close(): Promise<void> {
    return this.#sweep.stop();
  }

  #pathOf(key: string): string {
    return join(this.#directory, this.#prefix + key + this.#suffix);
  }

  /** One step that nobody else, in any process, is in at the same time for the same session. */
  async #locked<T>(key: string, call: Call, step: (path: string, lock: Lock) => Promise<T>): Promise<T> {
    const path = this.#pathOf(key);
    const attempt = (): Promise<T> => this.#locks.hold(path, call.deadline, (lock) => step(path, lock));
    try {
      return await attempt();
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw error;
      // The folder isn't there yet, or not any more.
      await mkdir(this.#directory, { recursive: true, mode: 0o700 });
      return attempt();
    }
  }

  #write(path: string, text: string, lock: Lock): Promise<void> {
    const temporary = `${path}.${lock.identity}.tmp`;
    return replaceFile(path, text, { temporary, guard: lock, flush: this.#flush });
  }
}

/** Whether a key is what the core calls an address; nothing else ever becomes part of a path. */
function isAddress(key: string): boolean {
  return /^[\w-]{43}$/.test(key);
}

function isPath(value: unknown): boolean {
  return typeof value === 'string' && value !== '' && !value.includes('\0');
}

/** Room for the address and the longest ending within a file name's 255 bytes, and no names but our own. */
function isTemplate(value: unknown): boolean {
  return (
    typeof value === 'string' &&
    value.length <= 100 &&
    /^(?!\.)[\w.-]*%s[\w.-]*(?<!\.|\.lock|\.tmp)$/i.test(value)
  );
}

function isInterval(value: unknown): boolean {
  return value === false || (typeof value === 'number' && value > 0 && value <= 1_000_000);
}
