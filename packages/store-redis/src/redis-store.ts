import {
  type Absent,
  type Call,
  type Capabilities,
  type ChangeFeed,
  type Changes,
  type Created,
  checkOption,
  checkStoreOptions,
  type DestroyCall,
  type Destroyed,
  isReplacement,
  type SessionIndex,
  type SessionRecord,
  type Store,
  type StoreOptions,
  type Updated,
} from 'koa-wsession/store';
import { Connection, type RedisLike } from './connection.js';
import { ReplyError } from './errors.js';
import type { Feed } from './feed.js';
import { toFields, toList, toOperations, toRecord } from './record.js';
import { CREATE, DESTROY, INDEX_ADD, INDEX_KEYS, INDEX_REMOVE, LOAD, stamp, UPDATE } from './scripts.js';
import { scan } from './servers.js';

/** What `new RedisStore(redis, options)` takes. */
export interface RedisStoreOptions extends StoreOptions {
  /** Begins each key in Redis, followed by a session's address (43 characters), or by `group:` and a hash. Default `'wppsess:'`. */
  prefix?: string;
}

/**
 * Sessions in Redis, one hash each: shared by every process and machine, merged key by key, destroyed everywhere at once.
 *
 * ```ts
 * app.use(session(new RedisStore(new Redis('redis://localhost'))));
 * ```
 *
 * It can be constructed, and the app started, while Redis is away: calls then wait for it until the middleware's
 * `timeout`. The app handles the client's `error` events and closes the client.
 */
export class RedisStore implements Store {
  readonly expire: number;
  readonly secure: boolean;
  readonly domain: string | undefined;
  readonly capabilities: Capabilities = { seals: false, merges: true, revokes: true };
  /** For a near cache; not with a Cluster. Has a connection of its own, which `close()` closes. */
  readonly changes?: ChangeFeed;
  /** The sessions of each owner: a sorted set for each group, under `group:` (no address has a `:`). */
  readonly index: SessionIndex = {
    add: async (group, key, until, call) => {
      const args = [...stamp(), key, String(until), String(call.limit ?? '')];
      const reply = await this.#redis.run(INDEX_ADD, `group:${group}`, args, call);
      if (reply !== 'added' && reply !== 'full') throw new ReplyError();
      return reply === 'added';
    },
    remove: async (group, key, call) => {
      const reply = await this.#redis.run(INDEX_REMOVE, `group:${group}`, [...stamp(), key], call);
      if (reply !== 'removed') throw new ReplyError();
    },
    keys: async (group, call) => {
      const keys = toList(await this.#redis.run(INDEX_KEYS, `group:${group}`, [String(Date.now())], call));
      if (keys.includes(null)) throw new ReplyError();
      return keys as string[];
    },
  };
  readonly #redis: Connection;
  readonly #feed: Feed | undefined;

  /**
   * @param redis a client of ioredis 5 or 6: `new Redis(…)`, also with `sentinels`, or `new Redis.Cluster(…)`; or of
   * node-redis 5 or 6: `createClient(…)` or `createCluster(…)`, which the app connects
   * @throws OptionError for an invalid or unknown option, and for any other client
   */
  constructor(redis: RedisLike, options: RedisStoreOptions = {}) {
    ({
      expire: this.expire,
      secure: this.secure,
      domain: this.domain,
    } = checkStoreOptions('RedisStore', options, ['prefix']));
    const { prefix = 'wppsess:' } = options;
    checkOption('prefix', prefix, isPrefix, 'a string without NUL and without lone surrogates');
    this.#redis = new Connection(redis, prefix);
    this.#feed = this.#redis.feed();
    if (this.#feed) this.changes = this.#feed;
  }

  async load(key: string, call: Call): Promise<SessionRecord | Absent> {
    const reply = await this.#redis.run(LOAD, key, [], call);
    if (reply === null) return undefined;
    const loaded = toRecord(toList(reply));
    if (loaded === undefined) return 'corrupt';
    if (isReplacement(loaded)) return Date.now() < loaded.until ? loaded : undefined;
    return Date.now() < loaded.expiresAt ? loaded : 'expired';
  }

  async create(key: string, record: SessionRecord, call: Call): Promise<Created> {
    const { createdAt, updatedAt, expiresAt, revision, entries } = record;
    const instants = [createdAt, updatedAt, expiresAt, revision].map(String);
    const outcome = await this.#redis.run(CREATE, key, [...stamp(), ...instants, ...toFields(entries)], call);
    if (outcome !== 'created' && outcome !== 'exists') throw new ReplyError();
    return { outcome };
  }

  async update(key: string, changes: Changes, call: Call): Promise<Updated> {
    const { updatedAt, expiresAt = '', expect } = changes;
    const args = [...stamp(), String(updatedAt), String(expiresAt)].concat(toOperations(changes));
    const reply = await this.#redis.run(UPDATE, key, args, call);
    if (reply === 'gone') return { outcome: reply };
    if (typeof reply === 'string' && /^\d+$/.test(reply)) return { outcome: 'updated', revision: Number(reply) };
    const [outcome, ...actual] = toList(reply);
    if (outcome !== 'conflict' || actual.length !== expect?.size) throw new ReplyError();
    return { outcome, actual: new Map(Array.from(expect.keys(), (name, i) => [name, actual[i] ?? undefined])) };
  }

  async destroy(key: string, call: DestroyCall): Promise<Destroyed> {
    const { replaced, revision } = call;
    const args = [...stamp(), String(revision ?? ''), replaced?.by ?? '', String(replaced?.until ?? '')];
    const reply = await this.#redis.run(DESTROY, key, args, call);
    if (reply === null) return { outcome: 'none' };
    const found = toRecord(toList(reply));
    if (found === undefined) throw new ReplyError();
    if (isReplacement(found)) return { outcome: 'replaced', by: found.by };
    const isOther = revision !== undefined && revision !== found.revision;
    return { outcome: isOther ? 'changed' : 'destroyed', record: found };
  }

  /** A failover or a restart of Redis in the middle is an error at the end. */
  async *scan(call: () => Call): AsyncGenerator<readonly string[]> {
    const { prefix } = this.#redis;
    for (const primary of await this.#redis.primaries(call().deadline)) yield* scan(primary, prefix, call);
  }

  /** Closes the connection of `changes`, if it was used. The app closes the client. */
  close(): void {
    this.#feed?.close();
  }
}

function isPrefix(value: unknown): boolean {
  return typeof value === 'string' && value.isWellFormed() && !value.includes('\0');
}
