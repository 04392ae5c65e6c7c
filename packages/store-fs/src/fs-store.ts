import { resolve } from 'node:path';
import {
  applyChanges,
  type Call,
  type Capabilities,
  type Changes,
  type Created,
  checkOption,
  checkStoreOptions,
  findConflict,
  type None,
  type OwnerIndex,
  type SessionRecord,
  type Store,
  type StoreOptions,
  type Updated,
} from 'koa-wsession';
import { Locks } from './lock.js';
import { Owners } from './owners.js';
import { RecordFiles } from './record-files.js';
import { Sweep } from './sweep.js';

/** What {@link FsStore} takes, beside what every store takes. */
export interface FsStoreOptions extends StoreOptions {
  /**
   * The folder of the session files. Relative to the working directory at construction; made (mode 0700) when the
   * first session is written, and again should it disappear. Default `'./sessions'`.
   */
  directory?: string;
  /**
   * A session's file name: `%s`, once, stands for its address, a hash. At most 100 of the characters
   * `A-Z a-z 0-9 _ . -`, not beginning with a dot and not ending in a dot, `.lock`, `.owner` or `.tmp`.
   * Default `'weppy_%s.sess'`.
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
  readonly owners: OwnerIndex;
  readonly #sessions: RecordFiles;
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
        'not beginning with a dot and not ending in a dot, .lock, .owner or .tmp',
    );
    checkOption('fsync', fsync, (value) => typeof value === 'boolean', 'true or false');
    checkOption(
      'sweepInterval',
      sweepInterval,
      isInterval,
      'a number of seconds over 0, at most 1,000,000, or false',
    );

    const [prefix, suffix] = filenameTemplate.split('%s') as [string, string];
    const files = { directory: resolve(directory), prefix, suffix, flush: fsync, locks: new Locks() };
    const owners = new RecordFiles({ ...files, suffix: `${suffix}.owner` });
    this.#sessions = new RecordFiles(files);
    this.owners = new Owners(owners);
    this.#sweep = new Sweep({
      ...files,
      kinds: [this.#sessions, owners],
      expire: this.expire,
      interval: sweepInterval,
    });
  }

  /** @throws the file system's error where it can't tell whether there is a session */
  load(key: string): Promise<SessionRecord | None> {
    return this.#sessions.read(key);
  }

  /** @throws TypeError for a key that is no address; the file system's error, or a LockError */
  create(key: string, record: SessionRecord, call: Call): Promise<Created> {
    const own = { ...record, entries: new Map(record.entries) };
    return this.#sessions.change(key, call, async (file) => {
      if (file.record) return { outcome: 'exists' };
      await file.write(own);
      return { outcome: 'created' };
    });
  }

  /** @throws the file system's error, or a LockError */
  update(key: string, changes: Changes, call: Call): Promise<Updated> {
    return this.#sessions.change(key, call, async (file) => {
      if (!file.record) return { outcome: 'gone' };
      const conflict = findConflict(file.record, changes);
      if (conflict) return conflict;
      await file.write(applyChanges(file.record, changes));
      return { outcome: 'updated' };
    });
  }

  /** @throws the file system's error, or a LockError */
  destroy(key: string, call: Call): Promise<SessionRecord | undefined> {
    return this.#sessions.change(key, call, async (file) => {
      if (file.record) await file.remove();
      return file.record;
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
}

function isPath(value: unknown): boolean {
  return typeof value === 'string' && value !== '' && !value.includes('\0');
}

/** Room for the address and the longest ending within a file name's 255 bytes, and no names but our own. */
function isTemplate(value: unknown): boolean {
  return (
    typeof value === 'string' &&
    value.length <= 100 &&
    /^(?!\.)[\w.-]*%s[\w.-]*(?<!\.|\.lock|\.owner|\.tmp)$/i.test(value)
  );
}

function isInterval(value: unknown): boolean {
  return value === false || (typeof value === 'number' && value > 0 && value <= 1_000_000);
}
