import fs from 'node:fs';
import fsp from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import type { Changes, SessionRecord } from 'koa-wsession/store';

const { closeSync, openSync } = fs;

/* The program of an `Other`: a store in a process of its own, in which the file system can be made to fail. */

/** By call: an error code, or `hang` for a call that never returns; and how many calls succeed before. */
export type Faults = Record<string, { code: string; after?: number }>;

export type Order = { id: number; task: keyof Task; args: unknown[] };
export type Answer =
  | { id: number; result: unknown }
  | { id: number; error: { message: string; code: string | undefined } }
  | { event: string; detail?: unknown };
export type Task = typeof tasks;

let faults: Faults = {};
const calls: Record<string, number> = {};

/** What a call is to do instead of its work. */
function intercept(name: string): 'work' | 'hang' | NodeJS.ErrnoException {
  count(name);
  const fault = faults[name];
  if (!fault) return 'work';
  if (fault.after) {
    fault.after--;
    return 'work';
  }
  if (fault.code === 'hang') {
    report('hanging', name);
    return 'hang';
  }
  return Object.assign(new Error(`${fault.code}: injected, ${name}`), { code: fault.code });
}

function count(name: string): void {
  calls[name] = (calls[name] ?? 0) + 1;
}

type AnyFunction = (...args: unknown[]) => unknown;

for (const name of ['open', 'read', 'write', 'fsync', 'symlink']) {
  const original = (fs as unknown as Record<string, AnyFunction>)[name] as AnyFunction;
  // What promisify makes of the original is something special; of this, it is the same.
  const replaced = Object.assign(
    (...args: unknown[]) => {
      const todo = intercept(name);
      // Such a file flushes each write.
      if (name === 'open' && Number(args[1]) & fs.constants.O_SYNC) count('flushing');
      if (todo === 'work') original(...args);
      else if (todo !== 'hang') process.nextTick(args.at(-1) as AnyFunction, todo);
    },
    Object.fromEntries(Object.getOwnPropertySymbols(original).map((key) => [key, Reflect.get(original, key)])),
  );
  Object.assign(fs, { [name]: replaced });
}
for (const name of ['unlink', 'readlink', 'lstat', 'mkdir']) {
  const original = (fsp as unknown as Record<string, AnyFunction>)[name] as AnyFunction;
  const replaced = async (...args: unknown[]) => {
    const todo = intercept(name);
    if (todo === 'work') return original(...args);
    if (todo === 'hang') return new Promise(() => {});
    throw todo;
  };
  Object.assign(fsp, { [name]: replaced });
}
for (const name of ['openSync', 'closeSync', 'renameSync', 'unlinkSync', 'readlinkSync']) {
  const original = (fs as unknown as Record<string, AnyFunction>)[name] as AnyFunction;
  const replaced = (...args: unknown[]) => {
    const todo = intercept(name);
    if (todo !== 'work') throw todo;
    return original(...args);
  };
  Object.assign(fs, { [name]: replaced });
}
syncBuiltinESMExports();

const { FsStore } = await import('@koa-wsession/store-fs');
const { call, changesOf } = await import('./helpers.js');
const store = new FsStore(JSON.parse(process.argv[2] as string));

const tasks = {
  load: (address: string, milliseconds?: number) => store.load(address, call(milliseconds)),
  create: (address: string, record: SessionRecord) => store.create(address, record, call()),
  update: (address: string, changes: Changes, milliseconds?: number) =>
    store.update(address, changes, call(milliseconds)),
  destroy: (address: string) => store.destroy(address, call()),
  sweep: () => store.sweep(),

  removeFromIndex: (group: string, key: string) => store.index.remove(group, key, call()),
  addToIndex: (group: string, key: string, until: number, limit?: number) =>
    store.index.add(group, key, until, { ...call(), ...(limit !== undefined && { limit }) }),

  async break(next: Faults) {
    faults = next;
  },

  async calls() {
    const counts = { ...calls };
    for (const name of Object.keys(calls)) delete calls[name];
    return counts;
  },

  /** Many updates at once, each of a key of its own. */
  async setKeys(address: string, keys: string[]) {
    await Promise.all(keys.map((key) => store.update(address, changesOf({ [key]: key }), call())));
  },

  /** Many increments at once, each tried again after a conflict. */
  async increment(address: string, key: string, times: number) {
    const increment = async () => {
      let value: string | undefined = '0';
      for (;;) {
        const changes = changesOf({ [key]: String(Number(value) + 1) }, { [key]: value });
        const updated = await store.update(address, changes, call());
        if (updated.outcome !== 'conflict') return updated.outcome;
        value = updated.actual.get(key);
      }
    };
    return Promise.all(Array.from({ length: times }, increment));
  },

  /** Updates until there is nothing left to update; how many there were. */
  async updateUntilGone(address: string) {
    for (let i = 0; ; i++) {
      const { outcome } = await store.update(address, changesOf({ a: String(i) }), call());
      if (outcome === 'gone') return i;
      if (i === 5) report('running');
    }
  },

  /** Writes to all of these sessions, on and on, and reports what is stored. */
  async storm(addresses: string[], bytes: number) {
    const write = async (address: string, index: number) => {
      for (let i = 1; ; i++) {
        await store.update(address, changesOf({ n: String(i), filling: filling(i, bytes) }), call());
        report('stored', [index, i]);
      }
    };
    await Promise.all(addresses.map(write));
  },

  /** Writes values of changing length into two keys, always the same in both. */
  async writeTwins(address: string, times: number) {
    for (let i = 0; i < times; i++) {
      const text = filling(i, (i * 7919) % 40_000);
      await store.update(address, changesOf({ a: text, b: text }), call());
    }
  },

  /** Opens files until there are no more to be had. */
  async exhaust() {
    try {
      for (;;) taken.push(openSync('/dev/null', 'r'));
    } catch {
      return taken.length;
    }
  },

  async relax() {
    for (const file of taken.splice(0)) closeSync(file);
  },

  /** Leaves it to itself: it then lives as long as its store keeps it alive. */
  async letGo() {
    process.off('message', obey);
    setImmediate(() => process.disconnect());
  },
};

const taken: number[] = [];

/** A text that tells from which write it is. */
function filling(write: number, length: number): string {
  return String.fromCharCode(97 + (write % 26)).repeat(length);
}

function report(event: string, detail?: unknown): void {
  send({ event, detail });
}

function send(answer: Answer): void {
  process.send?.(answer);
}

function obey({ id, task, args }: Order): void {
  (tasks[task] as (...args: unknown[]) => Promise<unknown>)(...args).then(
    (result) => send({ id, result }),
    ({ message, code }) => send({ id, error: { message, code } }),
  );
}

process.on('message', obey);
report('started');
