import {
  type Call,
  type Capabilities,
  type Changes,
  type Created,
  checkOption,
  checkStoreOptions,
  type Entries,
  type None,
  type OwnerIndex,
  type SessionRecord,
  type Store,
  type StoreOptions,
  type Updated,
} from 'koa-wsession';
import { type Argument, type RedisLike, type ScriptRunner, toScriptRunner } from './client.js';
import { Operation } from './operation.js';
import { ownersIn } from './owners.js';
import { ReplyError, toList } from './reply.js';
import { CREATE, DESTROY, LOAD, type Script, UPDATE } from './scripts.js';

/** What `new RedisStore(redis, options)` takes. */
export interface RedisStoreOptions extends StoreOptions {
  /** Begins each key in Redis; behind it comes the session's address, 43 characters, or `owner:` and an owner's hash. Default `'wppsess:'`. */
  prefix?: string;
}

/**
 * Sessions in Redis, one hash each: shared by every process and machine, merged key by key, ended everywhere at once.
 *
 * ```ts
 * app.use(session(new RedisStore(new Redis('redis://localhost'))));
 * ```
 *
 * It can be constructed, and the app started, while Redis is away: calls then wait for it until the middleware's
 * `timeout`. The client stays yours, its `error` events and its end included.
 */
export class RedisStore implements Store {
  readonly expire: number;
  readonly secure: boolean;
  readonly domain: string | undefined;
  readonly capabilities: Capabilities = { seals: false, merges: true, revokes: true };
  /** Which sessions are whose: one sorted set an owner, under `prefix` and `owner:`. */
  readonly owners: OwnerIndex = ownersIn((...args) => this.#run(...args));
  readonly #prefix: string;
  readonly #redis: ScriptRunner;

  /**
   * @param redis a client of ioredis 5 or 6: `new Redis(…)`, also with `sentinels`, or `new Redis.Cluster(…)`; or of
   * node-redis 5 or 6: `createClient(…)` or `createCluster(…)`, which you connect
   * @throws OptionError for an option that can't be used, and for any other client
   */
  constructor(redis: RedisLike, options: RedisStoreOptions = {}) {
    ({
      expire: this.expire,
      secure: this.secure,
      domain: this.domain,
    } = checkStoreOptions('RedisStore', options, ['prefix']));
    const { prefix = 'wppsess:' } = options;
    checkOption('prefix', prefix, isPrefix, 'a string without NUL and without lone surrogates');
    this.#prefix = prefix;
    this.#redis = toScriptRunner(redis);
  }

  async load(key: string, call: Call): Promise<SessionRecord | None> {
    const reply = await this.#run(LOAD, key, [Date.now()], call);
    const [reason] = Array.isArray(reply) && reply.length === 1 ? reply : [];
    return reason === 'expired' || reason === 'corrupt' ? reason : toRecord(reply);
  }

  async create(key: string, record: SessionRecord, call: Call): Promise<Created> {
    const args = [Date.now(), record.createdAt, record.expiresAt, ...toFields(record.entries)];
    const [outcome] = toList(await this.#run(CREATE, key, args, call));
    if (outcome !== 'created' && outcome !== 'exists') throw new ReplyError();
    return { outcome };
  }

  async update(key: string, changes: Changes, call: Call): Promise<Updated> {
    const { expect, set } = changes;
    const operation = new Operation(call.deadline);
    const args = [
      ...[Date.now(), changes.expiresAt, operation.name],
      ...(expect
        ? [toField(expect.key), expect.value === undefined ? 0 : 1, expect.value ?? '']
        : ['', 0, '']),
      ...[set.size, ...toFields(set), ...changes.delete.map(toField)],
    ];
    try {
      const [outcome, actual] = toList(await this.#run(UPDATE, key, args, call));
      if (outcome === 'conflict' && actual !== undefined) return { outcome, actual: actual ?? undefined };
      if (outcome !== 'updated' && outcome !== 'gone') throw new ReplyError();
      return { outcome };
    } finally {
      operation.end();
    }
  }

  async destroy(key: string, call: Call): Promise<SessionRecord | undefined> {
    return toRecord(await this.#run(DESTROY, key, [Date.now()], call));
  }

  /** Does nothing: the client is yours to end. */
  close(): void {}

  #run(script: Script, key: string, args: Argument[], call: Call): Promise<unknown> {
    return this.#redis.run(script, this.#prefix + key, args, call.deadline);
  }
}

function isPrefix(value: unknown): boolean {
  return typeof value === 'string' && value.isWellFormed() && !value.includes('\0');
}

/** A user's key behind a `:`, and so none of the store's own fields. */
function toField(key: string): string {
  return `:${key}`;
}

function toFields(entries: Entries): string[] {
  const fields: string[] = [];
  for (const [key, value] of entries) fields.push(toField(key), value);
  return fields;
}

function toRecord(reply: unknown): SessionRecord | undefined {
  if (reply === null) return undefined;
  const list = toList(reply);
  const entries = new Map<string, string>();
  let createdAt = Number.NaN;
  let expiresAt = Number.NaN;
  for (let i = 0; i < list.length; i += 2) {
    const [field, value] = [list[i], list[i + 1]];
    if (typeof field !== 'string' || typeof value !== 'string') throw new ReplyError();
    if (field.startsWith(':')) entries.set(field.slice(1), value);
    else if (field === 'created') createdAt = Number(value);
    else if (field === 'expires') expiresAt = Number(value);
  }
  if (Number.isNaN(createdAt + expiresAt)) throw new ReplyError();
  return { entries, createdAt, expiresAt };
}
