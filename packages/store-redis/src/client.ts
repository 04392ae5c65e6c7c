import { checkOption } from 'koa-wsession';
import type { Script } from './scripts.js';

export type Argument = string | number | Buffer;

/**
 * The client that a {@link RedisStore} takes: ioredis 5 or 6, for one server, Sentinel (`new Redis(…)`) or Cluster
 * (`new Redis.Cluster(…)`). Described by what is used of it, so that no version's types are needed.
 */
export interface RedisLike {
  readonly status: string;
  connect(): Promise<unknown>;
  evalsha(sha: string, keys: number, ...args: Argument[]): Promise<unknown>;
  eval(script: string, keys: number, ...args: Argument[]): Promise<unknown>;
  on(event: string, listener: () => void): unknown;
  off(event: string, listener: () => void): unknown;
}

/** All that the store asks of a client: the seam at which another one can be fitted. */
export interface ScriptRunner {
  /**
   * Runs a script on one key. Nothing is sent once the deadline (`performance.now()` milliseconds) has passed.
   * Rejects with a plain Error when Redis can't be reached or refuses.
   */
  run(script: Script, key: string, args: readonly Argument[], deadline: number): Promise<unknown>;
}

/** @throws OptionError for anything but a client of ioredis */
export function toScriptRunner(redis: unknown): ScriptRunner {
  checkOption(
    'The client of RedisStore',
    redis,
    isIoredis,
    'one of ioredis: new Redis(…) or new Redis.Cluster(…)',
  );
  return new IoredisRunner(redis as RedisLike);
}

function isIoredis(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const { evalsha, eval: evaluate, connect, on, off } = value as Partial<RedisLike>;
  return [evalsha, evaluate, connect, on, off].every((method) => typeof method === 'function');
}

class IoredisRunner implements ScriptRunner {
  readonly #redis: RedisLike;
  /** Calls that wait for the client to be ready. However many, the client has one listener of ours. */
  readonly #waiting: Set<() => void> = new Set();
  readonly #wake = (): void => {
    for (const resume of this.#waiting) resume();
  };

  constructor(redis: RedisLike) {
    this.#redis = redis;
  }

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
    while (!this.#isReady(deadline)) await this.#change(deadline);
    return this.#redis[command](script, 1, key, ...args);
  }

  /** Calls wait here, where ioredis would queue them and send them whenever it can, or refuse them, as it is set up. */
  #isReady(deadline: number): boolean {
    const { status } = this.#redis;
    if (status === 'end') throw new Error('the client is closed');
    if (performance.now() >= deadline) throw new Error(`no answer in time (the client is "${status}")`);
    if (status === 'wait') this.#redis.connect().catch(() => {}); // `lazyConnect`; it reports on its own
    return status === 'ready' || status === undefined; // undefined: a stub
  }

  /** Resolves when the client is ready or closed, at the latest at the deadline. */
  #change(deadline: number): Promise<void> {
    return new Promise((resolve) => {
      const resume = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(resume);
        if (this.#waiting.size === 0) this.#listen('off');
        resolve();
      };
      const timer = setTimeout(resume, Math.min(deadline - performance.now(), 2 ** 31 - 1));
      if (this.#waiting.size === 0) this.#listen('on');
      this.#waiting.add(resume);
    });
  }

  #listen(how: 'on' | 'off'): void {
    this.#redis[how]('ready', this.#wake);
    this.#redis[how]('end', this.#wake);
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
