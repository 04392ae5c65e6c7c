import { randomBytes } from 'node:crypto';
import fs, { readlinkSync, unlinkSync } from 'node:fs';
import { lstat, readlink } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { assertInTime, codeOf, LockError, unlessMissing } from './errors.js';
import { hasEnded, PROCESS } from './identity.js';
import { Queues } from './queues.js';

/*
 * A lock is a symbolic link, `<file>.lock`, whose target is the lock's identity and leads nowhere. One system call
 * makes the link together with its text, or fails because there is one.
 *
 * The lock of a killed process has to be broken. To remove someone else's lock, first create a claim link,
 * `<file>.lock.<identity>`, so that two processes can't break each other's new lock: only the process that made the
 * claim, and then still finds that identity in the lock, may remove it. A killed process's claim is broken the same way.
 *
 * File calls wait in Node's thread pool, perhaps for seconds. So the check whether a lock is still held, and the step that
 * depends on the answer, are synchronous: nothing comes between them.
 */

/** Milliseconds after which a lock may be broken even if its process runs: twice the core's default `timeout`. */
const LEASE = 10_000;

/** Milliseconds for which a process trusts a lock of its own. The rest of the lease is for a pause before the step. */
const HOLD: number = LEASE / 2;

/** How file systems without symbolic links, and Node's permission model, refuse to make one. */
const NO_LINKS: RegExp = /^(EPERM|ENOTSUP|EOPNOTSUPP|ENOSYS|ERR_ACCESS_DENIED)$/;

/** The locks that one store takes. */
export class Locks {
  readonly #store: string = randomBytes(6).toString('base64url');
  #count = 0;
  /** Of one process, only one request at a time competes with other processes for a file. */
  readonly #queues: Queues = new Queues();

  /**
   * Runs `work` while no other call, in this process or another, holds this file's lock.
   * @throws LockError where the lock isn't free by `deadline`; TimeoutError where the deadline passed before that
   */
  hold<T>(file: string, deadline: number, work: (lock: Lock) => Promise<T>): Promise<T> {
    return this.#queues.run(file, async () => {
      const lock = await this.#acquire(file, deadline);
      try {
        return await work(lock);
      } finally {
        // The work is done, or failed with an error of its own: a lock that stays is broken in time.
        await lock.renew().catch(() => {});
        lock.release();
      }
    });
  }

  async #acquire(file: string, deadline: number): Promise<Lock> {
    const path = `${file}.lock`;
    assertInTime(deadline);
    for (;;) {
      const lock = await this.#make(path, deadline);
      if (lock) return lock;
      const wasBroken = await this.breakAbandoned(path, path);
      if (performance.now() >= deadline)
        throw new LockError(`${basename(file)} is locked by another process and did not become free in time`);
      if (!wasBroken) await delay(1 + 9 * Math.random());
    }
  }

  /** Removes a link, `lock` itself or a claim to it, if it is abandoned. Returns whether it removed something. */
  async breakAbandoned(link: string, lock: string): Promise<boolean> {
    const target = await readlink(link).catch(unlessMissing);
    if (target === undefined) return false;
    const identity = basename(target); // Windows makes it a full path
    if (!(await this.isAbandoned(link, identity))) return false;
    const claim = await this.#claimBreak(link, lock, identity);
    if (!claim) return this.breakAbandoned(`${lock}.${identity}`, lock);
    try {
      unlinkSync(link);
    } finally {
      claim.release();
    }
    return true;
  }

  /** A claim to a link; `undefined` where there is one already, or the link isn't the same any more. */
  async #claimBreak(link: string, lock: string, identity: string): Promise<Lock | undefined> {
    const claim = await this.#make(`${lock}.${identity}`, Number.POSITIVE_INFINITY);
    if (!claim || (claim.isHeld && linksTo(link, identity))) return claim;
    claim.release();
    return undefined;
  }

  /** Whether the process that made this link or file has ended, or had its time. */
  async isAbandoned(path: string, identity: string): Promise<boolean> {
    if (await hasEnded(identity)) return true;
    const made = await lstat(path).catch(unlessMissing);
    // A time in the future isn't this clock's: it was set back since, or another boot's was wrong.
    return made !== undefined && Math.abs(Date.now() - made.mtimeMs) > LEASE;
  }

  /** Makes a link with an identity that is never used again; `undefined` where there is a link already. */
  #make(path: string, deadline: number): Promise<Lock | undefined> {
    const identity = `${PROCESS}.${this.#store}.${(this.#count++).toString(36)}`;
    // Its time runs from here, before the call is queued.
    const lock = new Lock(identity, path, deadline, () => this.#claimBreak(path, path, identity));
    return new Promise((resolve, reject) => {
      // A junction is the kind of link that every user of Windows may make.
      fs.symlink(identity, path, 'junction', (error) => {
        if (error && error.code !== 'EEXIST') reject(explain(error, dirname(path)));
        else resolve(error ? undefined : lock);
      });
    });
  }
}

/** A link that this process made. */
export class Lock {
  /** Never used twice; names the process. */
  readonly identity: string;
  readonly #path: string;
  readonly #deadline: number;
  readonly #claimBreak: () => Promise<Lock | undefined>;
  readonly #wall: number = Date.now();
  readonly #monotonic: number = performance.now();
  #claim: Lock | undefined;

  constructor(identity: string, path: string, deadline: number, claimBreak: () => Promise<Lock | undefined>) {
    this.identity = identity;
    this.#path = path;
    this.#deadline = deadline;
    this.#claimBreak = claimBreak;
  }

  /** Claims a lock that may be broken by now, so that no other process can break it. Costs nothing in the usual case. */
  async renew(): Promise<void> {
    if (!this.isHeld) this.#claim ??= await this.#claimBreak();
  }

  /**
   * Call it right before a synchronous step that the lock protects.
   * @throws LockError where another process may have broken the lock; TimeoutError where no caller waits any more
   */
  assertHeld(): void {
    if (!this.isHeld) throw new LockError(`Lock ${basename(this.#path)} expired while held`);
    assertInTime(this.#deadline);
  }

  /** By either clock: the one stands still while the machine sleeps, the other can be set. */
  get isHeld(): boolean {
    if (this.#claim) return this.#claim.isHeld;
    return Math.max(performance.now() - this.#monotonic, Math.abs(Date.now() - this.#wall)) < HOLD;
  }

  /** Removes the link, unless another process may have its place by now. */
  release(): void {
    if (!this.isHeld) return;
    try {
      unlinkSync(this.#path);
    } catch {}
    this.#claim?.release();
  }
}

function linksTo(path: string, identity: string): boolean {
  try {
    return basename(readlinkSync(path)) === identity;
  } catch (error) {
    return unlessMissing(error) ?? false;
  }
}

/** Says what to do where a folder takes no symbolic links at all. */
function explain(error: unknown, folder: string): unknown {
  const code = codeOf(error) ?? '';
  if (!NO_LINKS.test(code)) return error;
  const message =
    `Can't lock sessions in ${folder} (${code}): locks are symbolic links. Choose a directory on a file system that ` +
    "supports them; under Node's --permission, grant --allow-fs-read=* and --allow-fs-write=* and set fsync: false";
  return Object.assign(new Error(message, { cause: error }), { code });
}
