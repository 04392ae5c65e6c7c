import { randomBytes } from 'node:crypto';
import { type Call, checkOption } from 'koa-wsession/store';
import { type Argument, type Client, millisecondsUntil, type Send } from './client.js';
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
  readonly #prefix: string;
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
    this.#prefix = prefix;
  }

  /** All that comes before an address in its key. */
  get prefix(): string {
    return this.#client.keyPrefix + this.#prefix;
  }

  /** The changes of what is stored under the prefix; `undefined` with a Cluster. */
  feed(): Feed | undefined {
    const { track } = this.#client;
    return track && new Feed(track, this.prefix);
  }

  /**
   * Runs a script on one key; one that writes gets the time and an idempotency key as its first arguments. Sends nothing
   * after the deadline. Rejects with a plain Error when Redis can't be reached or refuses.
   */
  async run(script: Script, key: string, args: readonly Argument[], { deadline }: Call): Promise<unknown> {
    const reply = await (script.writes
      ? this.#write(script, key, args, deadline)
      : this.#evaluate(script, key, args, deadline));
    if (!this.#isUsed) void warnOfEviction(this.primaries(deadline));
    this.#isUsed = true;
    return reply;
  }

  /**
   * Runs a script at most once and never too late.
   *
   * A client that loses the connection sends unanswered commands again once it is connected, be it hours later; none can
   * be taken back. The record remembers the idempotency key, so that an update that arrives twice is carried out once. And
   * the key is a Buffer, which the client writes out as it is when it sends: wiped at the deadline, it makes a command that
   * is still sent do nothing. (Otherwise a write whose request got a 503 would overwrite what another process stored since.)
   */
  async #write(script: Script, key: string, args: readonly Argument[], deadline: number): Promise<unknown> {
    const idempotencyKey = newIdempotencyKey();
    const timer = setTimeout(() => idempotencyKey.fill(0), millisecondsUntil(deadline));
    try {
      return await this.#evaluate(script, key, [Date.now(), idempotencyKey, ...args], deadline);
    } finally {
      clearTimeout(timer);
      idempotencyKey.fill(0);
    }
  }

  async #evaluate({ sha, source }: Script, key: string, args: readonly Argument[], deadline: number): Promise<unknown> {
    const run = (command: 'eval' | 'evalsha', script: string): Promise<unknown> =>
      this.#send(deadline, () => this.#client.runScript(command, script, this.#prefix + key, args, deadline));
    try {
      return await run('evalsha', sha);
    } catch (error) {
      if (!isUnknownScript(error)) throw error;
      return run('eval', source);
    }
  }

  /** How to send commands without keys to each server that takes writes. */
  async primaries(deadline: number): Promise<Send[]> {
    const primaries = await this.#send(deadline, () => this.#client.primaries());
    return primaries.map((send) => (line, until) => this.#send(until, () => send(line, until)));
  }

  /** Sends a command; again if it was lost with the connection and the client doesn't repeat it by itself. */
  async #send<T>(deadline: number, send: () => Promise<T>): Promise<T> {
    for (;;) {
      while (!this.#isReady(deadline)) await this.#change(deadline);
      try {
        return await send();
      } catch (error) {
        if (this.#client.status === 'ready') throw toPlainError(error);
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

/** Random bytes in stock: a call for six takes as long as a call for hundreds. Another stock each time, since keys are wiped. */
let stock: Buffer = Buffer.alloc(0);
let used = 0;

function newIdempotencyKey(): Buffer {
  if (used === stock.length) {
    stock = randomBytes(6 * 256);
    used = 0;
  }
  used += 6;
  return stock.subarray(used - 6, used);
}
