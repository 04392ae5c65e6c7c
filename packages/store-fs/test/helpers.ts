import { type ChildProcess, execFileSync, fork } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import fs, { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import fsp from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { callbackify } from 'node:util';
import { FsStore, type FsStoreOptions } from '@koa-wsession/store-fs';
import { type Absent, type Call, type Changes, type Destroyed, isRecord, type SessionRecord } from 'koa-wsession/store';
import type { Answer, Faults, Order, Task } from './child.js';

export const HOUR = 3_600_000;

export function newAddress(): string {
  return randomBytes(32).toString('base64url');
}

export function call(milliseconds = 15_000): Call {
  return { name: 'test', deadline: performance.now() + milliseconds };
}

export function recordOf(content: Record<string, string> = {}, lifetime = HOUR): SessionRecord {
  const now = Date.now();
  const entries = new Map(Object.entries(content));
  return { entries, createdAt: now, updatedAt: now, expiresAt: now + lifetime, revision: 1 };
}

export function changesOf(set: Record<string, string>, expect?: Record<string, string | undefined>): Changes {
  const now = Date.now();
  const changes = { set: new Map(Object.entries(set)), delete: [], updatedAt: now, expiresAt: now + HOUR };
  return expect ? { ...changes, expect: new Map(Object.entries(expect)) } : changes;
}

/** The entries of what `load` or `destroy` returned. */
export function contentOf(returned: SessionRecord | Absent | Destroyed): Record<string, string> | undefined {
  const record = typeof returned === 'object' && 'record' in returned ? returned.record : returned;
  return isRecord(record as SessionRecord | Absent) ? Object.fromEntries((record as SessionRecord).entries) : undefined;
}

/** The folder of a test, the stores on it, and other processes that have one. All gone after the test. */
export class Folder {
  readonly #parent = mkdtempSync(join(tmpdir(), 'store-fs-'));
  readonly path = join(this.#parent, 'sessions');
  readonly #stores: FsStore[] = [];
  readonly #others: Other[] = [];
  readonly #mounts: string[] = [];

  /** A store that doesn't sweep unless it is told to. */
  store(options: FsStoreOptions = {}): FsStore {
    const store = new FsStore({ directory: this.path, sweepInterval: false, ...options });
    this.#stores.push(store);
    return store;
  }

  /** A store in another process. */
  async other(options: FsStoreOptions = {}, prelude?: string): Promise<Other> {
    const other = new Other({ directory: this.path, sweepInterval: false, ...options }, prelude);
    this.#others.push(other);
    await other.started;
    return other;
  }

  file(address: string, ending = ''): string {
    return join(this.path, `weppy_${address}.sess${ending}`);
  }

  /** The endings of the files that belong to a session: '' for its own. */
  endings(address: string): string[] {
    const own = `weppy_${address}.sess`;
    return this.names.filter((name) => name.startsWith(own)).map((name) => name.slice(own.length));
  }

  /** The names in the folder; none where there is no folder. */
  get names(): string[] {
    try {
      return readdirSync(this.path).sort();
    } catch {
      return [];
    }
  }

  /** Makes the folder a file system of its own, of this size. `false` where the test may not. */
  mount(size: string): boolean {
    mkdirSync(this.path);
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', this.path], { stdio: 'ignore' });
    } catch {
      return false;
    }
    this.#mounts.push(this.path);
    return true;
  }

  remount(options: string): void {
    execFileSync('mount', ['-o', `remount,${options}`, this.path], { stdio: 'ignore' });
  }

  async remove(): Promise<void> {
    await Promise.all(this.#others.map((other) => other.kill()));
    await Promise.all(this.#stores.map((store) => store.close()));
    for (const path of this.#mounts) execFileSync('umount', [path]);
    rmSync(this.#parent, { recursive: true, force: true });
  }
}

/** Gives each test of this file a folder. */
export function useFolder(): { readonly current: Folder } {
  let current: Folder;
  beforeEach(() => {
    current = new Folder();
  });
  afterEach(() => current.remove());
  return {
    get current() {
      return current;
    },
  };
}

/** A process that does with its store what it is told. */
export class Other {
  readonly process: ChildProcess;
  readonly started: Promise<unknown>;
  readonly #waiting: Map<number, (answer: Answer) => void> = new Map();
  #count = 0;

  /** `prelude` is a shell command that comes before it, such as `ulimit -n 30`. */
  constructor(options: FsStoreOptions, prelude?: string) {
    const program = fileURLToPath(new URL('./child.js', import.meta.url));
    const args = [JSON.stringify(options)];
    this.process = fork(program, args, {
      serialization: 'advanced',
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      ...(prelude && {
        execPath: '/bin/sh',
        execArgv: ['-c', `${prelude}; exec "$0" "$@"`, process.execPath],
      }),
    });
    this.process.on('message', (answer: Answer) => {
      if ('id' in answer) this.#waiting.get(answer.id)?.(answer);
    });
    this.started = this.next('started');
  }

  /** Has a task done; its answer, or its error with message and code. */
  ask<K extends keyof Task>(task: K, ...args: Parameters<Task[K]>): Promise<Awaited<ReturnType<Task[K]>>> {
    const id = this.#count++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, (answer) => {
        this.#waiting.delete(id);
        if ('error' in answer) reject(Object.assign(new Error(answer.error.message), answer.error));
        else if ('result' in answer) resolve(answer.result as never);
      });
      this.process.send({ id, task, args } satisfies Order);
    });
  }

  /** Has calls of the file system fail from now on. */
  break(faults: Faults): Promise<void> {
    return this.ask('break', faults);
  }

  /** The next time that it reports this event. */
  next(event: string): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const listen = (answer: Answer): void => {
        if (!('event' in answer) || answer.event !== event) return;
        this.process.off('message', listen).off('exit', fail);
        resolve(answer.detail);
      };
      const fail = (): void => reject(new Error(`The process ended before ${event}`));
      this.process.on('message', listen).on('exit', fail);
    });
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return;
    const exited = once(this.process, 'exit');
    this.process.kill(signal);
    await exited;
  }
}

/** A promise's error. */
export async function errorOf(promise: Promise<unknown>): Promise<NodeJS.ErrnoException> {
  return promise.then(
    (value) => {
      throw new Error(`should have failed, and answered ${JSON.stringify(value)}`);
    },
    (error) => error,
  );
}

/** The calls of the file system as they really are. */
export const real = { ...fsp };
const { readlinkSync, renameSync, symlink, unlinkSync } = fs;
export const realSync = { readlinkSync, renameSync, unlinkSync };

type CallName = 'lstat' | 'mkdir' | 'opendir' | 'readlink' | 'symlink' | 'unlink';
type SyncCallName = 'readlinkSync' | 'renameSync' | 'unlinkSync';

/** Replaces a call of the file system in this process, until {@link restoreCalls}. */
export function replaceCall<K extends CallName>(
  name: K,
  fake: (...args: Parameters<(typeof fsp)[K]>) => Promise<unknown>,
) {
  // The store makes links by Node's other interface.
  if (name === 'symlink') Object.assign(fs, { symlink: callbackify(fake as () => Promise<unknown>) });
  else Object.assign(fsp, { [name]: fake });
  syncBuiltinESMExports();
}

/** The same for a synchronous one. */
export function replaceSyncCall<K extends SyncCallName>(
  name: K,
  fake: (...args: Parameters<(typeof fs)[K]>) => unknown,
) {
  Object.assign(fs, { [name]: fake });
  syncBuiltinESMExports();
}

export function restoreCalls(): void {
  Object.assign(fsp, real);
  Object.assign(fs, realSync, { symlink });
  syncBuiltinESMExports();
}

/** A system error. */
export function systemError(code: string): Error {
  return Object.assign(new Error(`${code}: injected`), { code });
}
