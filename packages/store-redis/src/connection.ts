import { type Call, checkOption } from 'koa-wsession/store';
import { type Client, type Limit, millisecondsUntil, type Send } from './client.js';
import { isUnknownScript, messageOf, toPlainError } from './errors.js';
import { Feed } from './feed.js';
import { type IoredisLike, ioredis, isIoredis } from './ioredis.js';
import { isNodeRedis, type NodeRedisLike, nodeRedis } from './node-redis.js';
import type { Script } from './scripts.js';
import { warnOfEviction } from './servers.js';

/** The clients that a {@link RedisStore} takes, described by what is used of them: no version's types are needed. */
export type RedisLike = IoredisLike | NodeRedisLike;

/**
 * Sends the store's commands by the app's client.
 *
 * Calls wait here while the client isn't connected, where a client would queue them and send them whenever it can, or
 * refuse them, as it is set up.
 */
export class Connection {
  readonly #client: Client;
  /** All that comes before an address in its key. */
  readonly prefix: string;
  #isUsed = false;
  /** Calls that wait for the client to be ready. However many, the client has one listener of ours. */
  readonly #waiting: Set<() => void> = new Set();
  /** The last error of the connection while calls waited. */
  #problem: unknown;
  readonly #wake = (): void => {
    for (const resume of this.#waiting) resume();
  };
  readonly #note = (error: unknown): void => {
    this.#problem = error;
  };

  /**
   * `prefix`: the store's, before each key.
   * @throws OptionError for anything but a client of ioredis or node-redis
   */
  constructor(redis: unknown, prefix: string) {
    const expected =
      'a client of ioredis 5 or 6 (new Redis(…), new Redis.Cluster(…)) or of node-redis 5 or 6 (createClient(…), ' +
      'createCluster(…)); for tests without Redis, use MemoryStore in place of a mock';
    checkOption('redis', redis, (value) => isIoredis(value) || isNodeRedis(value), expected);
    this.#client = isIoredis(redis) ? ioredis(redis) : nodeRedis(redis as NodeRedisLike);
    this.prefix = this.#client.keyPrefix + prefix;
  }

  /** The changes of what is stored under the prefix; `undefined` with a Cluster. */
  feed(): Feed | undefined {
    const { track } = this.#client;
    return track && new Feed(track, this.prefix);
  }

  /**
   * Runs a script on one key. Sends nothing after the deadline. Rejects with a plain Error when Redis can't be reached or
   * refuses.
   */
  async run({ sha, source }: Script, key: string, args: readonly string[], { deadline }: Call): Promise<unknown> {
    const fullKey = this.prefix + key;
    const reply = await this.#send(deadline, (limit, isUnknown) => {
      const script = isUnknown ? ['eval', source, '1', fullKey] : ['evalsha', sha, '1', fullKey];
      return this.#client.send(script.concat(args), limit, fullKey);
    });
    if (!this.#isUsed) void warnOfEviction(this.primaries(deadline));
    this.#isUsed = true;
    return reply;
  }

  /** How to send commands without keys to each server that takes writes. */
  async primaries(deadline: number): Promise<Send[]> {
    const primaries = await this.#send(deadline, () => this.#client.primaries());
    return primaries.map(
      (send) =>
        (line, { deadline }) =>
          this.#send(deadline, (limit) => send(line, limit)),
    );
  }

  /**
   * Sends a command; again if Redis doesn't know its script, or if it was lost with the connection and the client doesn't
   * repeat it by itself.
   */
  async #send<T>(deadline: number, send: (limit: Limit, isUnknown: boolean) => Promise<T>): Promise<T> {
    for (let isUnknown = false; ; ) {
      while (!this.#isReady(deadline)) await this.#change(deadline);
      const limit = { deadline };
      try {
        return await send(limit, isUnknown);
      } catch (error) {
        limit.deadline = 0; // the client may still have it
        if (!isUnknown && isUnknownScript(error)) isUnknown = true;
        else if (this.#client.status === 'ready') throw toPlainError(error);
      }
    }
  }

  #isReady(deadline: number): boolean {
    const { closed, status } = this.#client;
    if (closed) throw new Error(closed);
    // Early, so that the caller gets the reason before its own timer ends.
    if (performance.now() + 2 > deadline) {
      if (status === 'ready') throw new Error('The time was up before Redis was asked');
      const reason = this.#problem === undefined ? `its status is "${status}"` : messageOf(this.#problem);
      throw new Error(`The Redis client is not connected: ${reason}`);
    }
    if (status === 'ready') this.#problem = undefined;
    else this.#client.connect();
    return status === 'ready';
  }

  /** Resolves when the client is ready or closed, at the latest at the deadline. */
  #change(deadline: number): Promise<void> {
    return new Promise((resolve) => {
      const resume = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(resume);
        if (this.#waiting.size === 0) this.#client.listen('off', this.#wake, this.#note);
        resolve();
      };
      const timer = setTimeout(resume, millisecondsUntil(deadline - 2));
      if (this.#waiting.size === 0) this.#client.listen('on', this.#wake, this.#note);
      this.#waiting.add(resume);
    });
  }
}
