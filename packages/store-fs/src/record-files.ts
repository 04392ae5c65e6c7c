import { sep } from 'node:path';
import {
  type Absent,
  type Call,
  isRecord,
  packRecord,
  type Replacement,
  type SessionRecord,
  unpackRecord,
} from 'koa-wsession/store';
import { readText, removeFile, replaceFile } from './atomic-file.js';
import { assertInTime, codeOf } from './errors.js';
import { flushFolder, makeFolder, readFolder } from './folder.js';
import { IDENTITY } from './identity.js';
import type { Lock, Locks } from './lock.js';

/** A mark's permissions tell the sweep, which doesn't read the file, that it is short-lived. */
export const MARK_MODE = 0o400;

/** Milliseconds for which a sweep waits for a lock. */
const SWEEP_WAIT = 1000;

/** How many addresses a scan returns at a time. */
const SCAN_BATCH = 256;

/**
 * Some file systems (tmpfs, Btrfs) list a file that is replaced in the meantime under neither its old nor its new entry. A
 * scan reads the folder again for those.
 */
const SCANS = 3;

/** What a call makes of what a file holds. */
export interface Decision<T> {
  readonly answer: T;
  /** What the file is to hold; `null` for no file. Without it, the file stays as it is. */
  readonly content?: SessionRecord | Replacement | null;
  /** The answer says what another call may have done just now: it waits until the disk has that, too. */
  readonly isAcknowledged?: true;
}

export interface RecordFilesOptions {
  readonly directory: string;
  /** The part before and after the address in a file's name: letters, digits, `_`, `-` and dots. */
  readonly prefix: string;
  readonly suffix: string;
  /** Whether to wait until the disk has what is written. */
  readonly flush: boolean;
  readonly locks: Locks;
  /** Whether the sweep leaves damaged files, since their loss would have to be noticed. */
  readonly keepDamaged?: boolean;
}

/** Files of one kind in one folder, each with the record or the mark of the address in its name. */
export class RecordFiles {
  /** The names of the files, of their locks and claims, and of temporary files: file, address, `.lock`, identity. */
  readonly names: RegExp;
  readonly #options: RecordFilesOptions;
  /** The part of a path before the address. */
  readonly #before: string;

  constructor(options: RecordFilesOptions) {
    const [before, after] = [options.prefix, options.suffix].map((text) => text.replaceAll('.', '\\.'));
    const leftover = `(\\.lock)(?:\\.${IDENTITY})?|\\.(${IDENTITY})\\.tmp`;
    this.names = new RegExp(`^(${before}([\\w-]{43})${after})(?:${leftover})?$`);
    this.#options = options;
    this.#before = options.directory + sep + options.prefix;
  }

  /** Takes no lock: a file is only ever replaced as a whole. */
  async read(address: string, { deadline }: Pick<Call, 'deadline'>): Promise<SessionRecord | Absent> {
    assertInTime(deadline);
    if (!isAddress(address)) return undefined;
    const text = await readText(this.pathOf(address));
    if (text === undefined) return undefined;
    const record = unpackRecord(address, text);
    if (record) return Date.now() < record.expiresAt ? record : 'expired';
    const mark = unpackMark(address, text);
    if (mark) return Date.now() < mark.until ? mark : undefined;
    return 'corrupt';
  }

  /**
   * One step from what a file holds to what it will hold, exclusive across processes. A key that is no address has no
   * record, and can't get one.
   * @throws LockError where the lock isn't free in time or was held for too long; TimeoutError where the deadline passed;
   * TypeError for a write under a key that is no address
   */
  async change<T>(address: string, call: Call, decide: (found: SessionRecord | Absent) => Decision<T>): Promise<T> {
    if (!isAddress(address)) return refuseContent(decide(undefined));
    const { directory, flush, locks } = this.#options;
    const attempt = async (): Promise<T> => {
      const [answer, isToFlush] = await locks.hold(this.pathOf(address), call.deadline, async (lock) =>
        this.#apply(address, lock, call, decide(await this.read(address, call))),
      );
      // The lock is free by now: it protects the step from one content to the next, which is done.
      if (isToFlush) await flushFolder(directory);
      return answer;
    };
    return attempt().catch(async (error) => {
      if (codeOf(error) !== 'ENOENT') throw error;
      // The folder doesn't exist yet, or was deleted.
      assertInTime(call.deadline);
      await makeFolder(directory, flush);
      return attempt();
    });
  }

  /**
   * Returns the answer, and whether the folder is to be flushed. Not async: a function that waits for the disk would keep
   * all of the old and the new content in memory.
   */
  #apply<T>(address: string, lock: Lock, { deadline }: Call, decision: Decision<T>): Promise<[T, boolean]> {
    const { answer, content, isAcknowledged = false } = decision;
    const { flush } = this.#options;
    if (content === undefined) return Promise.resolve([answer, flush && isAcknowledged]);
    const path = this.pathOf(address);
    if (content === null) return removeFile(path, lock).then(() => [answer, flush]);
    assertInTime(deadline);
    const text = isRecord(content) ? packRecord(address, content) : packMark(address, content);
    const mode = isRecord(content) ? 0o600 : MARK_MODE;
    return replaceFile(path, text, mode, flush, lock).then(() => [answer, flush]);
  }

  /** Removes a file that holds nothing live, unless it is being written. Returns whether it removed it. */
  async discard(address: string): Promise<boolean> {
    const { keepDamaged, locks } = this.#options;
    const path = this.pathOf(address);
    const deadline = performance.now() + SWEEP_WAIT;
    const isNeeded = async (): Promise<boolean> => {
      const found = await this.read(address, { deadline });
      return typeof found === 'object' || (found === 'corrupt' && keepDamaged === true);
    };
    if (await isNeeded()) return false;
    return locks.hold(path, deadline, async (lock) => {
      if (await isNeeded()) return false;
      await removeFile(path, lock);
      return true;
    });
  }

  /** The addresses of the files in the folder, in batches; some of them more than once, and of locks without a file. */
  async *scan(call: () => Call): AsyncGenerator<string[], void> {
    for (let i = 0; i < SCANS; i++) {
      for await (const names of readFolder(this.#options.directory, SCAN_BATCH)) {
        assertInTime(call().deadline);
        yield names.flatMap((name) => this.names.exec(name)?.[2] ?? []);
      }
    }
  }

  pathOf(address: string): string {
    return this.#before + address + this.#options.suffix;
  }
}

/** Whether a key is what the core calls an address: nothing else ever becomes part of a path. */
function isAddress(key: string): boolean {
  return /^[\w-]{43}$/.test(key);
}

function refuseContent<T>({ answer, content }: Decision<T>): T {
  if (content) throw new TypeError('A session is stored under an address: 43 characters of base64url');
  return answer;
}

/**
 * The mark of a replaced session as the text of its file. No record begins like that.
 *
 *     replaced,<until>,<length of by>\n<address><by>
 */
function packMark(address: string, { by, until }: Replacement): string {
  return `replaced,${until},${by.length}\n${address}${by}`;
}

/** The mark that `packMark` packed for this address; `undefined` for anything else, however damaged. */
function unpackMark(address: string, text: string): Replacement | undefined {
  const [head, until] = /^replaced,([\d.]+),\d+\n/.exec(text) ?? [];
  if (!head) return undefined;
  const mark = { by: text.slice(head.length + address.length), until: Number(until) };
  return packMark(address, mark) === text ? mark : undefined;
}
