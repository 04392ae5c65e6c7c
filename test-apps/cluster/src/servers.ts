import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import type { Backend, RoundRobin } from './proxy.js';

interface Server extends Backend {
  readonly child: ChildProcess;
}

/** The processes that serve the app, and their place in the proxy's rotation. */
export class Servers {
  readonly #proxy: RoundRobin;
  readonly #redisPorts: readonly number[];
  readonly #running: Server[] = [];

  constructor(proxy: RoundRobin, redisPorts: readonly number[]) {
    this.#proxy = proxy;
    this.#redisPorts = redisPorts;
  }

  async start(count = 1): Promise<void> {
    await Promise.all(Array.from({ length: count }, () => this.#start()));
  }

  /** Ends each server gracefully, and starts another in its place. */
  async restartEach(between: () => Promise<void>): Promise<void> {
    for (const server of [...this.#running]) {
      await this.#proxy.remove(server);
      const code = await this.#end(server, 'SIGTERM');
      if (code !== 0) throw new Error(`A server ended with ${code}.`);
      await this.#start();
      await between();
    }
  }

  /** Kills a server with requests in flight; it stays in the rotation until another takes its place. Returns its port. */
  async crash(): Promise<number> {
    const [server] = this.#running as [Server];
    await this.#end(server, 'SIGKILL');
    await this.#start();
    await this.#proxy.remove(server);
    return server.port;
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#running].map((server) => this.#end(server, 'SIGKILL')));
  }

  async #start(): Promise<void> {
    const child = fork(new URL('./server.js', import.meta.url), this.#redisPorts.map(String));
    const [port] = await once(child, 'message');
    const server = { child, port };
    this.#running.push(server);
    this.#proxy.add(server);
  }

  async #end(server: Server, signal: NodeJS.Signals): Promise<number | null> {
    this.#running.splice(this.#running.indexOf(server), 1);
    const exited = once(server.child, 'exit');
    server.child.kill(signal);
    const [code] = await exited;
    return code;
  }
}
