import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { ask } from './redis-ask.js';

export interface RedisOptions {
  /** The program to start (default `redis-server`), for instance `valkey-server`. */
  program?: string;
  /** More arguments for redis-server, for instance `['--appendonly', 'yes']`. They win over the defaults. */
  args?: readonly string[];
  /** The port to listen on; by default a free random one. */
  port?: number;
  /** Also listen on a Unix socket in the server's data folder. */
  unixSocket?: boolean;
  /** Run as a sentinel, with this content of its configuration file. */
  sentinel?: string;
  /** Milliseconds until a server that doesn't answer PING counts as failed (default 10000). */
  timeout?: number;
}

export interface RedisServer {
  readonly url: string;
  readonly port: number;
  /** The data folder, removed by `stop()`. */
  readonly dir: string;
  /** The path of the Unix socket, when one was asked for. */
  readonly socket: string | undefined;
  /** The running process (another one after `restart()`). */
  readonly process: ChildProcess;
  /** Ends the server and removes its data. Calling it twice is fine. */
  stop(): Promise<void>;
  /** Sends a signal (default SIGKILL). Resolves when the process is gone, for SIGSTOP and SIGCONT at once. */
  kill(signal?: NodeJS.Signals): Promise<void>;
  /** Starts the server again on the same port and data folder, ending it first when it still runs. */
  restart(): Promise<void>;
}

/** Starts a redis-server from PATH on 127.0.0.1, without persistence, and resolves when it answers PING. */
export async function startRedis(options: RedisOptions = {}): Promise<RedisServer> {
  const dir = await mkdtemp(join(tmpdir(), 'testkit-redis-'));
  const socket = options.unixSocket ? join(dir, 'redis.sock') : undefined;
  const timeout = options.timeout ?? 10_000;

  const config = join(dir, 'sentinel.conf');
  if (options.sentinel !== undefined) await writeFile(config, options.sentinel);

  async function launch(port: number): Promise<ChildProcess> {
    const child = spawnRedis(options.program ?? 'redis-server', [
      ...(options.sentinel === undefined ? [] : [config, '--sentinel']),
      ...['--port', String(port), '--bind', '127.0.0.1', '--dir', dir, '--daemonize', 'no'],
      ...(options.sentinel === undefined ? ['--save', '', '--appendonly', 'no'] : []),
      ...(socket === undefined ? [] : ['--unixsocket', socket]),
      ...(options.args ?? []),
    ]);
    try {
      await ready(child, port, timeout);
    } catch (error) {
      await end(child, 'SIGKILL');
      throw error;
    }
    return child;
  }

  /** A port that was free a moment ago can be taken by now: then the next one is tried. */
  async function launchAnywhere(): Promise<{ child: ChildProcess; port: number }> {
    for (let attempt = 1; ; attempt++) {
      const port = options.port ?? (await freePort());
      try {
        return { child: await launch(port), port };
      } catch (error) {
        if (options.port !== undefined || attempt === 5 || !/in use/i.test(String(error))) throw error;
      }
    }
  }

  let started: { child: ChildProcess; port: number };
  try {
    started = await launchAnywhere();
  } catch (error) {
    await rm(dir, { recursive: true, force: true });
    throw error;
  }

  let { child } = started;
  const { port } = started;
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    dir,
    socket,
    get process() {
      return child;
    },
    async stop() {
      await end(child, 'SIGKILL');
      await rm(dir, { recursive: true, force: true });
    },
    async kill(signal = 'SIGKILL') {
      if (signal === 'SIGSTOP' || signal === 'SIGCONT') child.kill(signal);
      else await end(child, signal);
    },
    async restart() {
      await end(child, 'SIGTERM');
      child = await launch(port);
    },
  };
}

const output = new WeakMap<ChildProcess, string>();

function spawnRedis(program: string, args: string[]): ChildProcess {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  // A server that a test forgot must not keep the process alive.
  child.unref();
  for (const stream of [child.stdout, child.stderr]) {
    (stream as Socket).unref();
    stream.setEncoding('utf8');
    stream.on('data', (text: string) => output.set(child, ((output.get(child) ?? '') + text).slice(-4000)));
  }
  child.on('error', (error) => output.set(child, String(error)));
  if (child.pid !== undefined) watch(child, child.pid);
  return child;
}

/** Kills the server when this process goes away, in whatever way: the watcher's standard input then closes. */
function watch(child: ChildProcess, pid: number): void {
  const watcher = spawn('sh', ['-c', `read _; kill -9 ${pid} 2>/dev/null`], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  watcher.unref();
  (watcher.stdin as unknown as Socket).unref();
  child.once('exit', () => watcher.kill('SIGKILL'));
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.pid === undefined || !isRunning(child)) return;
  child.ref();
  const exited = once(child, 'exit');
  child.kill(signal);
  // A stopped process takes no other signal than SIGKILL before it is continued.
  if (signal !== 'SIGKILL') child.kill('SIGCONT');
  await exited;
}

function isRunning(child: ChildProcess): boolean {
  return child.pid !== undefined && child.exitCode === null && child.signalCode === null;
}

async function ready(child: ChildProcess, port: number, timeout: number): Promise<void> {
  const deadline = Date.now() + timeout;
  while (!(await answersPing(port))) {
    if (!isRunning(child)) throw new Error(`redis-server ended: ${output.get(child) ?? '(no output)'}`);
    if (Date.now() > deadline)
      throw new Error(`redis-server doesn't answer PING: ${output.get(child) ?? '(no output)'}`);
    await delay(5);
  }
  // Somebody else's server on that port would have answered too.
  if (!isRunning(child)) throw new Error(`redis-server ended: ${output.get(child) ?? '(no output)'}`);
}

async function answersPing(port: number): Promise<boolean> {
  return /^(\+PONG|-NOAUTH)/.test(await ask(port, 'PING').catch(() => ''));
}

/** Below the ephemeral ports of Linux (32768 and up), so that no outgoing connection takes it in between. */
async function freePort(): Promise<number> {
  for (;;) {
    const port = 15_000 + Math.floor(Math.random() * 17_000);
    const server = createServer();
    const free = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false));
      server.listen(port, '127.0.0.1', () => resolve(true));
    });
    if (!free) continue;
    server.close();
    await once(server, 'close');
    return port;
  }
}
