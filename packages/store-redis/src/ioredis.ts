import type { Client } from './client.js';

export type Argument = string | number | Buffer;

/** A client of ioredis 5 or 6, for one server, Sentinel (`new Redis(…)`) or Cluster (`new Redis.Cluster(…)`). */
export interface IoredisLike {
  readonly status: string;
  connect(): Promise<unknown>;
  evalsha(sha: string, keys: number, ...args: Argument[]): Promise<unknown>;
  eval(script: string, keys: number, ...args: Argument[]): Promise<unknown>;
  on(event: string, listener: () => void): unknown;
  off(event: string, listener: () => void): unknown;
}

export function isIoredis(value: unknown): value is IoredisLike {
  if (typeof value !== 'object' || value === null) return false;
  const { evalsha, eval: evaluate, connect, on, off } = value as Partial<IoredisLike>;
  return [evalsha, evaluate, connect, on, off].every((method) => typeof method === 'function');
}

export class Ioredis implements Client {
  /** It sends again by itself. */
  readonly wasCut = false;
  readonly #redis: IoredisLike;

  constructor(redis: IoredisLike) {
    this.#redis = redis;
  }

  get status(): string {
    return this.#redis.status ?? 'ready'; // undefined: a stub
  }

  listen(how: 'on' | 'off', wake: () => void): void {
    for (const event of ['ready', 'end']) this.#redis[how](event, wake);
  }

  /** For `lazyConnect`; it reports on its own. */
  connect(): void {
    if (this.#redis.status === 'wait') this.#redis.connect().catch(() => {});
  }

  send(
    command: 'eval' | 'evalsha',
    script: string,
    key: string,
    args: readonly Argument[],
  ): Promise<unknown> {
    return this.#redis[command](script, 1, key, ...args);
  }
}
