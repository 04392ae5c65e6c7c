import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, existsSync, mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';

export interface PostgresOptions {
  /** More arguments for the server, for instance `['-c', 'max_connections=5']`. */
  args?: readonly string[];
  /** Start as a streaming standby of the server on this port of 127.0.0.1. */
  standbyOf?: { readonly port: number };
}

export interface PostgresServer {
  /** For the superuser `app`, database `postgres`. */
  readonly url: string;
  readonly port: number;
  /** The folder that holds the data, removed by `stop()`. */
  readonly dir: string;
  /** Ends the server and removes its data. Calling it twice is fine. */
  stop(): Promise<void>;
  /** Sends a signal to all its processes (default SIGKILL). Resolves when they have exited; for SIGSTOP and SIGCONT at once. */
  kill(signal?: NodeJS.Signals): Promise<void>;
  /** Starts the server again on the same port and data, ending it first when it still runs. */
  restart(): Promise<void>;
}

/** Where the newest server's programs are: on Debian not on the PATH. */
const BIN = findPrograms();
/** For `describeWith`: what is missing on this machine. */
export const needsPostgres: readonly string[] = BIN === undefined ? ['postgres'] : [];

const run = promisify(execFile);

/** Starts a Postgres server on 127.0.0.1, and resolves when it takes connections. It doesn't flush to the disk. */
export async function startPostgres(options: PostgresOptions = {}): Promise<PostgresServer> {
  const dir = mkdtempSync(join(tmpdir(), 'testkit-postgres-'));
  const owner = serverUser();
  if (owner) chownSync(dir, owner.uid, owner.gid);
  const data = join(dir, 'data');
  const program = (name: string): string => join(BIN ?? '', name);
  if (options.standbyOf) {
    const from = ['-h', '127.0.0.1', '-p', String(options.standbyOf.port), '-U', 'app'];
    await run(program('pg_basebackup'), ['-D', data, '-R', '-X', 'stream', '-c', 'fast', '--no-sync', ...from], {
      ...owner,
      cwd: dir,
    });
  } else {
    const settings = ['-A', 'trust', '-U', 'app', '-E', 'UTF8', '--locale=C', '--no-sync'];
    await run(program('initdb'), ['-D', data, ...settings], { ...owner, cwd: dir });
  }

  const port = await freePort();
  const launch = async (): Promise<ChildProcess> => {
    const settings = ['listen_addresses=127.0.0.1', 'unix_socket_directories=', 'fsync=off'];
    const args = [
      '-D',
      data,
      '-p',
      String(port),
      ...settings.flatMap((setting) => ['-c', setting]),
      ...(options.args ?? []),
    ];
    for (const deadline = Date.now() + 20_000; ; await delay(20)) {
      const child = spawn(program('postgres'), args, {
        ...owner,
        cwd: dir,
        stdio: ['ignore', 'ignore', 'pipe'],
      });
      const problem = await ready(child);
      if (problem === undefined) return child;
      // After SIGKILL, its other processes need a moment to notice.
      if (!/still in use|lock file/.test(problem) || Date.now() > deadline)
        throw new Error(`postgres ended: ${problem}`);
    }
  };
  let child = await launch();
  return {
    url: `postgres://app@127.0.0.1:${port}/postgres`,
    port,
    dir,
    async stop() {
      await end(child, 'SIGQUIT');
      await rm(dir, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 });
    },
    async kill(signal = 'SIGKILL') {
      if (signal === 'SIGSTOP' || signal === 'SIGCONT') for (const pid of processesOf(child)) process.kill(pid, signal);
      else await end(child, signal);
    },
    async restart() {
      await end(child, 'SIGINT');
      child = await launch();
    },
  };
}

function findPrograms(): string | undefined {
  const root = '/usr/lib/postgresql';
  if (!existsSync(root)) return undefined;
  const versions = readdirSync(root).sort((a, b) => Number(b) - Number(a));
  return versions.map((version) => join(root, version, 'bin')).find((bin) => existsSync(join(bin, 'postgres')));
}

/** The server refuses to run as root. */
function serverUser(): { uid: number; gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const id = (flag: string): number => Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8' }));
  return { uid: id('-u'), gid: id('-g') };
}

/** Resolves when the server is ready, or with what it said before it exited. */
async function ready(child: ChildProcess): Promise<string | undefined> {
  // A server that a test forgot must not keep the process alive, and ends with it.
  child.unref();
  const stderr = child.stderr as Readable & { unref(): void };
  stderr.unref();
  const watcher = spawn('sh', ['-c', `read _; kill -QUIT ${child.pid} 2>/dev/null`], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  watcher.unref();
  (watcher.stdin as unknown as { unref(): void }).unref();
  child.once('exit', () => watcher.kill('SIGKILL'));

  let log = '';
  stderr.setEncoding('utf8');
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', () => setImmediate(() => resolve(log.slice(-2000))));
    child.ref();
    stderr.on('data', function listen(text: string) {
      log = (log + text).slice(-4000);
      if (!/ready to accept (read-only )?connections/.test(log)) return;
      stderr.off('data', listen).resume();
      child.unref();
      resolve(undefined);
    });
  });
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.ref();
  const exited = once(child, 'exit');
  const processes = processesOf(child);
  if (signal === 'SIGKILL') for (const pid of processes) kill(pid, signal);
  else {
    for (const pid of processes) kill(pid, 'SIGCONT');
    child.kill(signal);
  }
  await exited;
}

function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has exited already.
  }
}

/** The server's processes, the one that starts the others first. */
function processesOf({ pid }: ChildProcess): number[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean);
  return [pid as number, ...children.map(Number)];
}

/** Below the ephemeral ports of Linux (32768 and up), so that no outgoing connection takes it in between. */
async function freePort(): Promise<number> {
  for (;;) {
    const port = 15_000 + Math.floor(Math.random() * 17_000);
    const server = createServer();
    const isFree = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false));
      server.listen(port, '127.0.0.1', () => resolve(true));
    });
    if (!isFree) continue;
    server.close();
    await once(server, 'close');
    return port;
  }
}
