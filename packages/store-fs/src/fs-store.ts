import { resolve } from 'node:path';
import {
  type Absent,
  applyChanges,
  type Call,
  type Capabilities,
  type Changes,
  type Created,
  checkOption,
  checkStoreOptions,
  type DestroyCall,
  type Destroyed,
  findConflict,
  isRecord,
  noneToDestroy,
  type SessionIndex,
  type SessionRecord,
  type Store,
  type StoreOptions,
  type Updated,
} from 'koa-wsession/store';
import { GroupIndex } from './group-index.js';
import { Locks } from './lock.js';
import { RecordFiles } from './record-files.js';
import { Sweep } from './sweep.js';

/** The options of {@link FsStore}, besides those of every store. */
export interface FsStoreOptions extends StoreOptions {
  /**
   * The folder of the session files. Relative to the working directory at construction; made (mode 0700) when the
   * first session is written, and again should it disappear. Its file system must support symbolic links.
   * Default `'./sessions'`.
   */
  directory?: string;
  /**
   * A session's file name: `%s`, once, stands for its address, a hash. At most 100 of the characters
   * `A-Z a-z 0-9 _ . -`, not beginning with a dot and not ending in a dot, `.lock`, `.index` or `.tmp`.
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
 * A file is only ever replaced as a whole, by renaming a finished one over it, so reading takes no lock. Every call that
 * replaces or removes a file holds the session's lock, so that no change is lost and no ended session comes back.
 *
 * ```ts
 * app.use(session(new FsStore({ directory: '/var/lib/shop/sessions' })));
 * ```
 *
 * Each call rejects with the file system's error, with a `LockError` (`ELOCKED`) where another process holds the session's
 * lock for too long, and with a `TimeoutError` (`ETIMEDOUT`) where the deadline of the call has passed.
 */
export class FsStore implements Store {
  readonly expire: number;
  readonly secure: boolean;
  readonly domain: string | undefined;
  readonly capabilities: Capabilities = { seals: false, merges: true, revokes: true };
  readonly index: SessionIndex;
  readonly #sessions: RecordFiles;
  readonly #sweep: Sweep;

  /**
   * Touches no file, so that an app starts while the disk is out of order.
   * @throws OptionError
   */
  constructor(options: FsStoreOptions = {}) {
    const own = ['directory', 'filenameTemplate', 'fsync', 'sweepInterval'];
    ({ expire: this.expire, secure: this.secure, domain: this.domain } = checkStoreOptions('FsStore', options, own));
    const { directory = './sessions', filenameTemplate = 'weppy_%s.sess' } = options;
    const { fsync = true, sweepInterval = 300 } = options;
    checkOption('directory', directory, isPath, 'the path of a folder, not empty and without NUL');
    checkOption('filenameTemplate', filenameTemplate, isTemplate, TEMPLATE);
    checkOption('fsync', fsync, (value) => typeof value === 'boolean', 'true or false');
    checkOption('sweepInterval', sweepInterval, isInterval, 'seconds over 0, at most 1,000,000, or false');

    const [prefix, suffix] = filenameTemplate.split('%s') as [string, string];
    const files = { directory: resolve(directory), prefix, suffix, flush: fsync, locks: new Locks() };
    const groups = new RecordFiles({ ...files, suffix: `${suffix}.index`, keepDamaged: true });
    this.#sessions = new RecordFiles(files);
    this.index = new GroupIndex(groups);
    this.#sweep = new Sweep({
      ...files,
      kinds: [this.#sessions, groups],
      expire: this.expire,
      interval: sweepInterval,
    });
  }

  load(key: string, call: Call): Promise<SessionRecord | Absent> {
    return this.#sessions.read(key, call);
  }

  /** @throws TypeError for a key that is no address */
  create(key: string, record: SessionRecord, call: Call): Promise<Created> {
    const own = { ...record, entries: new Map(record.entries) };
    return this.#sessions.change<Created>(key, call, (found) =>
      typeof found === 'object' ? { answer: { outcome: 'exists' } } : { answer: { outcome: 'created' }, content: own },
    );
  }

  update(key: string, changes: Changes, call: Call): Promise<Updated> {
    return this.#sessions.change<Updated>(key, call, (found) => {
      if (!isRecord(found)) return { answer: { outcome: 'gone' } };
      const conflict = findConflict(found, changes);
      if (conflict) return { answer: conflict };
      const content = applyChanges(found, changes);
      return { answer: { outcome: 'updated', revision: content.revision }, content };
    });
  }

  destroy(key: string, call: DestroyCall): Promise<Destroyed> {
    return this.#sessions.change<Destroyed>(key, call, (record) => {
      if (!isRecord(record)) return { answer: noneToDestroy(record), isAcknowledged: true };
      if ((call.revision ?? record.revision) !== record.revision) return { answer: { outcome: 'changed', record } };
      return { answer: { outcome: 'destroyed', record }, content: call.replaced ?? null };
    });
  }

  /** Reads the folder as the batches are taken. */
  scan(call: () => Call): AsyncIterable<readonly string[]> {
    return this.#sessions.scan(call);
  }

  /**
   * Removes expired sessions and what killed processes left behind; returns how many files it removed. The store calls
   * it every `sweepInterval` seconds; with `sweepInterval: false`, call it from a job of your own. While a sweep is in
   * progress, further calls return that one.
   * @throws the first error that it met, after it has removed what it could
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

const TEMPLATE: string =
  'a file name with one %s, at most 100 letters, digits, "_", "." and "-", ' +
  'not beginning with a dot and not ending in a dot, .lock, .index or .tmp';

function isPath(value: unknown): boolean {
  return typeof value === 'string' && value !== '' && !value.includes('\0');
}

/** Leaves room for the address and the longest ending within a file name's 255 bytes. */
function isTemplate(value: unknown): boolean {
  return (
    typeof value === 'string' &&
    value.length <= 100 &&
    /^(?!\.)[\w.-]*%s[\w.-]*(?<!\.|\.lock|\.index|\.tmp)$/i.test(value)
  );
}

function isInterval(value: unknown): boolean {
  return value === false || (typeof value === 'number' && value > 0 && value <= 1_000_000);
}
