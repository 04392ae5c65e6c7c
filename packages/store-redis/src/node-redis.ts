import type { Client } from './client.js';
import type { Argument } from './ioredis.js';

/** A client of node-redis 5 or 6, for one server (`createClient(…)`) or Cluster (`createCluster(…)`). */
export interface NodeRedisLike {
  readonly isOpen: boolean;
  /** Of a client for one server. */
  readonly isReady?: boolean;
  /** Of a Cluster, once it knows its nodes. */
  readonly masters?: readonly unknown[];
  withCommandOptions(options: { abortSignal: AbortSignal; typeMapping: Record<never, never> }): {
    evalSha(sha: string, options: NodeRedisArguments): Promise<unknown>;
    eval(script: string, options: NodeRedisArguments): Promise<unknown>;
  };
  on(event: string, listener: () => void): unknown;
  off(event: string, listener: () => void): unknown;
}

/** How node-redis takes a script's key and arguments. */
export interface NodeRedisArguments {
  keys: string[];
  arguments: Array<string | Buffer>;
}

/** Neither of an older version, nor of its pools and sentinels. */
export function isNodeRedis(value: unknown): value is NodeRedisLike {
  if (typeof value !== 'object' || value === null) return false;
  const { withCommandOptions, evalSha, on, off, createPool, nodeClient } = value as Record<string, unknown>;
  const is = (method: unknown): boolean => typeof method === 'function';
  return [withCommandOptions, evalSha, on, off].every(is) && [createPool, nodeClient].some(is);
}

export class NodeRedis implements Client {
  readonly #redis: NodeRedisLike;

  constructor(redis: NodeRedisLike) {
    this.#redis = redis;
  }

  get status(): string {
    const { isOpen, isReady, masters = [] } = this.#redis;
    if (!isOpen) return 'end';
    return (isReady ?? masters.length > 0) ? 'ready' : 'connecting';
  }

  get wasCut(): boolean {
    return this.status === 'connecting';
  }

  /** The former two are a client's, the latter a Cluster's. */
  listen(how: 'on' | 'off', wake: () => void): void {
    for (const event of ['ready', 'end', 'connect', 'disconnect']) this.#redis[how](event, wake);
  }

  /** That is the user's business: whether it was ended or never begun, can't be told. */
  connect(): void {}

  async send(
    command: 'eval' | 'evalsha',
    script: string,
    key: string,
    args: readonly Argument[],
    deadline: number,
  ): Promise<unknown> {
    const controller = new AbortController();
    const timer = setTimeout(() => controller.abort(), Math.min(deadline - performance.now(), 2 ** 31 - 1));
    try {
      const redis = this.#redis.withCommandOptions({ abortSignal: controller.signal, typeMapping: {} });
      const options = {
        keys: [key],
        arguments: args.map((arg) => (typeof arg === 'number' ? String(arg) : arg)),
      };
      return await (command === 'eval' ? redis.eval(script, options) : redis.evalSha(script, options));
    } finally {
      clearTimeout(timer);
    }
  }
}
