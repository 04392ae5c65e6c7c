import { checkOption } from 'koa-wsession';
import { type Argument, Ioredis, type IoredisLike, isIoredis } from './ioredis.js';
import { isNodeRedis, NodeRedis, type NodeRedisLike } from './node-redis.js';
import type { Script } from './scripts.js';

export type { Argument } from './ioredis.js';

/** The clients that a {@link RedisStore} takes. Described by what is used of them, so that no version's types are needed. */
export type RedisLike = IoredisLike | NodeRedisLike;

/** What differs between the clients. */
export interface Client {
  /** `ready`, `end` (closed: it doesn't connect by itself), or how it is otherwise. */
  readonly status: string;
  /** Whether a call that failed may have been lost with the connection, and isn't sent again by the client. */
  readonly wasCut: boolean;
  /** Calls it when the client has become ready or closed, at least; `off` ends that. */
  listen(how: 'on' | 'off', wake: () => void): void;
  /** Connects it where that is left to the first command. */
  connect(): void;
  /** Hands a script over. `deadline`: what the client didn't send by then, it may never send. */
  send(
    command: 'eval' | 'evalsha',
    script: string,
    key: string,
    args: readonly Argument[],
    deadline: number,
  ): Promise<unknown>;
}

/** @throws OptionError for anything but a client of ioredis or node-redis */
export function toScriptRunner(redis: unknown): ScriptRunner {
  checkOption(
    'The client of RedisStore',
    redis,
    (value) => isIoredis(value) || isNodeRedis(value),
    'one of ioredis: new Redis(…) or new Redis.Cluster(…), or of node-redis: createClient(…) or createCluster(…)',
  );
  return new ScriptRunner(isIoredis(redis) ? new Ioredis(redis) : new NodeRedis(redis as NodeRedisLike));
}

/** All that the store asks of a client. */
export class ScriptRunner {
  readonly #client: Client;
  /** Calls that wait for the client to be ready. However many, the client has one listener of ours. */
  readonly #waiting: Set<() => void> = new Set();
  readonly #wake = (): void => {
    for (const resume of this.#waiting) resume();
  };

  constructor(client: Client) {
    this.#client = client;
  }

  /**
   * Runs a script on one key. Nothing is sent once the deadline (`performance.now()` milliseconds) has passed.
   * Rejects with a plain Error when Redis can't be reached or refuses.
   */
  async run(script: Script, key: string, args: readonly Argument[], deadline: number): Promise<unknown> {
    try {
      try {
        return await this.#send('evalsha', script.sha, key, args, deadline);
      } catch (error) {
        if (!isUnknownScript(error)) throw error;
        return await this.#send('eval', script.source, key, args, deadline);
      }
    } catch (error) {
      throw toPlainError(error);
    }
  }

  async #send(
    command: 'eval' | 'evalsha',
    script: string,
    key: string,
    args: readonly Argument[],
    deadline: number,
  ): Promise<unknown> {
    for (;;) {
      while (!this.#isReady(deadline)) await this.#change(deadline);
      try {
        return await this.#client.send(command, script, key, args, deadline);
      } catch (error) {
        if (!this.#client.wasCut) throw error;
      }
    }
  }

  /** Calls wait here, where a client would queue them and send them whenever it can, or refuse them, as it is set up. */
  #isReady(deadline: number): boolean {
    const { status } = this.#client;
    if (status === 'end') throw new Error('the client is closed');
    if (performance.now() >= deadline) throw new Error(`no answer in time (the client is "${status}")`);
    this.#client.connect();
    return status === 'ready';
  }

  /** Resolves when the client is ready or closed, at the latest at the deadline. */
  #change(deadline: number): Promise<void> {
    return new Promise((resolve) => {
      const resume = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(resume);
        if (this.#waiting.size === 0) this.#client.listen('off', this.#wake);
        resolve();
      };
      const timer = setTimeout(resume, Math.min(deadline - performance.now(), 2 ** 31 - 1));
      if (this.#waiting.size === 0) this.#client.listen('on', this.#wake);
      this.#waiting.add(resume);
    });
  }
}

/** Redis was restarted, failed over or told to forget its scripts: it learns this one by running it. */
function isUnknownScript(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('NOSCRIPT');
}

/**
 * The message and nothing else: errors of ioredis carry the command, and with it addresses and session data. So does
 * the message where Redis doesn't know the command.
 */
function toPlainError(error: unknown): Error {
  const message = error instanceof Error ? error.message : typeof error;
  return new Error(`Redis: ${message.replace(/,? with args.*|\.$/is, '')}`);
}
