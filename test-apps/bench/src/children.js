import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const cores = availableParallelism();

/** Whether servers get a core of their own, and everything else the other cores. */
export const pinned = cores > 1 && spawnSync('taskset', ['--version'], { stdio: 'ignore' }).status === 0;

/** Leaves core 0 to the servers, also by what this process starts from now on (Redis). */
export function leaveTheServersTheirCore() {
  if (!pinned) return;
  spawnSync('taskset', ['-a', '-c', '-p', `1-${cores - 1}`, String(process.pid)], { stdio: 'ignore' });
}

const directories = new Set();
process.once('exit', () => {
  for (const directory of directories) rmSync(directory, { recursive: true, force: true });
});

/** Runs `use` with a new folder under `TMPDIR`, and removes it afterwards. */
export async function withDirectory(use) {
  const directory = await mkdtemp(join(tmpdir(), 'bench-'));
  directories.add(directory);
  try {
    return await use(directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
    directories.delete(directory);
  }
}

const SERVER = fileURLToPath(new URL('./server.js', import.meta.url));

/**
 * Room (MiB), so that V8 collects no old objects while a process warms up: if it does so before `process.nextTick` is
 * compiled, `nextTick` stays slow, 3 µs a request. Which processes that hits is chance.
 */
const ROOM = ['--initial-old-space-size=512'];

/** It is served over plain http, which is no matter here. */
const QUIET = ['--disable-warning=WSESSION_INSECURE_COOKIE'];

/** The same in each run, so that the counts are the same. */
const SECRET = 'bench bench bench bench bench bench bench bench';

/**
 * Starts a system in a process of its own.
 *
 * @param {import('./systems.js').System} system
 * @param {{ redisPort?: number, directory?: string }} context
 * @param {{ nodeOptions?: string[] }} [options]
 */
export async function startServer(system, context, { nodeOptions = [] } = {}) {
  const command = [
    ...(pinned ? ['taskset', '-c', '0'] : []),
    process.execPath,
    ...ROOM,
    ...QUIET,
    ...nodeOptions,
    SERVER,
    system.id,
    JSON.stringify({ ...context, secret: SECRET }),
  ];
  const child = spawn(command[0], command.slice(1), {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    env: { ...process.env, NODE_OPTIONS: '', NODE_ENV: system.trial ? 'test' : 'production' },
  });
  const failed = once(child, 'exit').then(([code]) => {
    throw new Error(`${system.label} ended (${code}).`);
  });
  failed.catch(() => {}); // `receive` rejects with it

  const receive = async () => (await Promise.race([once(child, 'message'), failed]))[0];
  const ask = async (question, how) => {
    child.send({ question, how });
    return (await receive()).answer;
  };

  const { port } = await receive();
  return {
    port,
    pid: child.pid,
    /** Microseconds of CPU since it started. */
    cpu: () => ask('cpu'),
    ask,
    /** Ends the process gracefully (a profile gets written) and resolves when it has ended. */
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const gone = once(child, 'exit');
      child.send({ question: 'end' });
      await gone;
    },
  };
}
