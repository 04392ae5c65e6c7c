import { createHash, randomBytes } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import { lstat, readFile, readlink, symlink, unlink } from 'node:fs/promises';
import { hostname } from 'node:os';
import { basename } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { codeOf } from './atomic-file.js';

/*
 * A lock is a symbolic link, `<file>.lock`, that leads nowhere: one system call makes it, or fails because it is
 * there, and makes it together with what it says, its identity: whose it is, and a number that never comes twice.
 *
 * The lock of a process that was killed has to be broken. Two that find it so must not break each other's next lock,
 * so whoever removes a link that isn't surely his own first makes a second link, the ticket `<file>.lock.<identity>`.
 * Who has made the ticket, and then still finds that identity in the link, is the only one who may remove it.
 * A ticket of a process that was killed is broken in the same way.
 */

/** Milliseconds after which a lock may be broken although its holder seems alive: twice the core's default `timeout`. */
const LEASE = 10_000;

/** An identity: host, process, when that process started, which store of it, which lock of that. */
export const IDENTITY: string = String.raw`[\w-]+\.\d+\.\d*\.[\w-]+\.\w+`;

/** A lock that could not be had in time, or that was held for too long. */
export class LockError extends Error {
  readonly code: string = 'ELOCKED';
  override readonly name: string = 'LockError';
}

/** The locks that one store takes. */
export class Locks {
  readonly #host: string = identifyHost();
  readonly #owner: string =
    `${this.#host}.${process.pid}.${parseStart(ifReadable(readFileSync, '/proc/self/stat'))}`;
  readonly #store: string = randomBytes(6).toString('base64url');
  #count = 0;
  /** The end of each file's queue: of one process, one request at a time contends with the other processes. */
  readonly #queues: Map<string, Promise<unknown>> = new Map();

  /**
   * Does `work` while nobody else, in this process or another, holds this file's lock.
   * @throws LockError where the lock can't be had by `deadline`, in `performance.now()` milliseconds
   */
  async hold<T>(file: string, deadline: number, work: (lock: Lock) => Promise<T>): Promise<T> {
    const turn = this.#holdAfter(this.#queues.get(file), file, deadline, work);
    const end = turn.catch(() => {});
    this.#queues.set(file, end);
    try {
      return await turn;
    } finally {
      if (this.#queues.get(file) === end) this.#queues.delete(file);
    }
  }

  async #holdAfter<T>(
    before: Promise<unknown> | undefined,
    file: string,
    deadline: number,
    work: (lock: Lock) => Promise<T>,
  ): Promise<T> {
    if (before) {
      await before;
      checkTime(file, deadline);
    }
    const lock = await this.#acquire(file, deadline);
    try {
      return await work(lock);
    } finally {
      // What is done is done, and what went wrong is known already: a lock that stays is broken in its time.
      await lock.release().catch(() => {});
    }
  }

  async #acquire(file: string, deadline: number): Promise<Lock> {
    const path = `${file}.lock`;
    const identity = this.#newIdentity();
    for (;;) {
      const lock = new Lock(identity, path, () => this.#seize(path, path, identity)); // its time runs from here
      if (await makeLink(path, identity)) return lock;
      if (await this.breakAbandoned(path, path)) continue;
      checkTime(file, deadline);
      await delay(1 + 9 * Math.random());
    }
  }

  /** Removes a link, `lock` itself or a ticket to it, if it is abandoned. Answers whether something was removed. */
  async breakAbandoned(link: string, lock: string): Promise<boolean> {
    const identity = await readLink(link);
    if (identity === undefined || !(await this.isAbandoned(link, identity))) return false;
    const ticket = ticketTo(lock, identity);
    if (!(await this.#seize(link, lock, identity))) return this.breakAbandoned(ticket, lock);
    await removeLink(link).finally(() => removeLink(ticket));
    return true;
  }

  /** Whether what was made under this identity has no living process behind it, or had its time. */
  async isAbandoned(path: string, identity: string): Promise<boolean> {
    const [host, pid, start] = identity.split('.');
    if (host === this.#host && !(await isAlive(Number(pid), start))) return true;
    const made = await lstat(path).catch(unlessMissing);
    return made !== undefined && Date.now() - made.mtimeMs > LEASE;
  }

  /** Makes the ticket, and keeps it where the link still has that identity. */
  async #seize(link: string, lock: string, identity: string): Promise<boolean> {
    const ticket = ticketTo(lock, identity);
    if (!(await makeLink(ticket, this.#newIdentity()))) return false;
    if ((await readLink(link)) === identity) return true;
    await removeLink(ticket);
    return false;
  }

  #newIdentity(): string {
    return `${this.#owner}.${this.#store}.${(this.#count++).toString(36)}`;
  }
}

/** A lock that is held. */
export class Lock {
  /** Never comes twice, and names its process. */
  readonly identity: string;
  readonly #path: string;
  readonly #seize: () => Promise<boolean>;
  /** When its lease began; once it is seized, that of the ticket. */
  #wall: number = Date.now();
  #monotonic: number = performance.now();
  #seized = false;

  constructor(identity: string, path: string, seize: () => Promise<boolean>) {
    this.identity = identity;
    this.#path = path;
    this.#seize = seize;
  }

  /**
   * Makes sure that the lock is still held, right before the step that it protects. Costs nothing in the usual case.
   * @throws LockError where somebody else may have it, because this process stood still for too long
   */
  async confirm(): Promise<void> {
    if (!this.#mayHaveLapsed()) return;
    const [wall, monotonic] = [Date.now(), performance.now()];
    if (this.#seized || !(await this.#seize()))
      throw new LockError(`The lock ${basename(this.#path)} was held for too long and is lost`);
    [this.#seized, this.#wall, this.#monotonic] = [true, wall, monotonic];
  }

  async release(): Promise<void> {
    await this.confirm();
    await removeLink(this.#path);
    if (this.#seized) await removeLink(ticketTo(this.#path, this.identity));
  }

  /** By either clock: the one stands still while the machine sleeps, the other can be set. */
  #mayHaveLapsed(): boolean {
    const elapsed = Math.max(performance.now() - this.#monotonic, Math.abs(Date.now() - this.#wall));
    return elapsed > LEASE / 2;
  }
}

function checkTime(file: string, deadline: number): void {
  if (performance.now() >= deadline)
    throw new LockError(`The lock of ${basename(file)} is held by somebody else and wasn't free in time`);
}

function ticketTo(lock: string, identity: string): string {
  return `${lock}.${identity}`;
}

/** Answers whether it was made: `false` where there is one already. */
async function makeLink(path: string, identity: string): Promise<boolean> {
  try {
    await symlink(identity, path, 'junction'); // the kind of link that Windows lets everybody make
    return true;
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false;
    throw error;
  }
}

async function readLink(path: string): Promise<string | undefined> {
  const target = await readlink(path).catch(unlessMissing);
  return target === undefined ? undefined : basename(target); // Windows makes it a full path
}

async function removeLink(path: string): Promise<void> {
  await unlink(path).catch(unlessMissing);
}

function unlessMissing(error: unknown): undefined {
  if (codeOf(error) !== 'ENOENT') throw error;
}

/**
 * What tells apart whose process ids mean the same: another machine's, another container's and an earlier boot's
 * don't. Where that can't be told, only the lease counts.
 */
function identifyHost(): string {
  const host = createHash('sha256').update(hostname());
  host.update(ifReadable(readFileSync, '/proc/sys/kernel/random/boot_id'));
  for (const namespace of ['pid', 'time'])
    host.update(ifReadable(readlinkSync, `/proc/self/ns/${namespace}`));
  return host.digest('base64url').slice(0, 11);
}

async function isAlive(pid: number, start: string | undefined): Promise<boolean> {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (codeOf(error) === 'ESRCH') return false; // any other: it is there, and somebody else's
  }
  const startNow = parseStart(await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => ''));
  return startNow === '' || startNow === start;
}

/** When a process started, in ticks since boot, so that a process id that was given again is told apart. */
function parseStart(stat: string): string {
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? ''; // its name, in brackets, may hold anything
}

/** What Linux has, and others don't. */
function ifReadable(read: (path: string, encoding: 'utf8') => string, path: string): string {
  try {
    return read(path, 'utf8');
  } catch {
    return '';
  }
}
