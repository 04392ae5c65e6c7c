import type {
  Absent,
  Call,
  Capabilities,
  Changes,
  Created,
  DestroyCall,
  Destroyed,
  SessionIndex,
  SessionRecord,
  Store,
  StoreOptions,
  Updated,
} from 'koa-wsession/store';
import { checkOption, checkStoreOptions, noneToDestroy } from 'koa-wsession/store';
import { fromJson, fromText, toAbsent, toJson, toRecord, toText } from './entries.js';
import { COMMENT, migration, READ_COMMENT } from './migration.js';
import { isPg, type PgLike, runWithPg } from './pg.js';
import { isPostgresJs, type PostgresJsLike, runWithPostgresJs } from './postgres-js.js';
import { DEADLINE_PASSED, instantOf, isRolledBack, type Row, type Rows, type Run, toPlainError } from './run.js';
import { BATCH, type Statements, statementsFor } from './statements.js';

/** The clients that a {@link PostgresStore} takes: a `Pool` or a `Client` of `pg`, or what `postgres()` returns. */
export type PostgresClient = PgLike | PostgresJsLike;

/** What `new PostgresStore(client, options)` takes. */
export interface PostgresStoreOptions extends StoreOptions {
  /** The table. Default `'wsession'`. */
  table?: string;
  /** The table's schema, which must exist. Default: the first of the connection's `search_path`. */
  schema?: string;
  /** Seconds between two removals of expired rows, on average. `false`: none, call `sweep()` in a job of your own. Default 300. */
  sweepInterval?: number | false;
  /** Uses named prepared statements. Not with PgBouncer before 1.21 in transaction mode. Default `false`. */
  prepare?: boolean;
  /** `migrate()` creates an unlogged table: faster writes, but a crash of the server ends all sessions. Default `false`. */
  unlogged?: boolean;
}

/**
 * Sessions in Postgres, one row each: shared by every process and machine, merged key by key, ended everywhere at once.
 *
 * ```ts
 * const store = new PostgresStore(new Pool());
 * await store.migrate();
 * app.use(session(store));
 * ```
 *
 * Each call is one statement. The store can be constructed, and the app started, while the server is away. The client
 * stays yours: the store doesn't end it.
 */
export class PostgresStore implements Store {
  readonly expire: number;
  readonly secure: boolean;
  readonly domain: string | undefined;
  readonly capabilities: Capabilities = { seals: false, merges: true, revokes: true };
  readonly #runOnce: Run;
  readonly #table: string;
  readonly #statements: Statements;
  readonly #migration: string;
  readonly #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  /**
   * @param client a `Pool` of `pg`, a `Client` of `pg` that nothing else uses, or what `postgres()` of `postgres` returns
   * @throws OptionError for an invalid option, and for any other client
   */
  constructor(client: PostgresClient, options: PostgresStoreOptions = {}) {
    const own = ['table', 'schema', 'sweepInterval', 'prepare', 'unlogged'];
    const { expire, secure, domain } = checkStoreOptions('PostgresStore', options, own);
    const { table = 'wsession', schema, sweepInterval = 300, prepare = false, unlogged = false } = options;
    checkOption('client of PostgresStore', client, isClient, CLIENTS);
    checkOption('table', table, isName, NAME);
    if (schema !== undefined) checkOption('schema', schema, isName, NAME);
    checkOption('sweepInterval', sweepInterval, isInterval, 'seconds over 0, up to 1,000,000, or false');
    for (const [name, value] of Object.entries({ prepare, unlogged }))
      checkOption(name, value, (given) => typeof given === 'boolean', 'true or false');

    [this.expire, this.secure, this.domain] = [expire, secure, domain];
    this.#runOnce = isPg(client) ? runWithPg(client, prepare) : runWithPostgresJs(client, prepare);
    this.#table = schema === undefined ? `"${table}"` : `"${schema}"."${table}"`;
    this.#statements = statementsFor(this.#table);
    this.#migration = migration(this.#table, `"${table}_sweep"`, unlogged);
    if (sweepInterval === false) return;
    // Intervals that differ, so that processes that started together don't sweep together.
    const interval = sweepInterval * 1000 * (0.8 + 0.4 * Math.random());
    this.#timer = setInterval(() => void this.sweep().catch(warn), interval).unref();
  }

  /**
   * Creates or upgrades the table, or does nothing where it is there. Any number of processes may call it at once.
   * @throws an Error where the server is away, the table is of a newer version, or the role has no right to create it
   */
  async migrate(): Promise<void> {
    try {
      const [row] = await this.#runOnce(READ_COMMENT, [this.#table], Number.POSITIVE_INFINITY);
      if (row?.[0] !== COMMENT) await this.#runOnce(this.#migration, [], Number.POSITIVE_INFINITY);
    } catch (error) {
      throw toPlainError(error);
    }
  }

  async load(key: string, call: Call): Promise<SessionRecord | Absent> {
    const [row] = await this.#run('load', key, [], call.deadline);
    return row?.[0] === 'live' ? toRecord(row) : toAbsent(row);
  }

  async create(key: string, record: SessionRecord, call: Call): Promise<Created> {
    const { createdAt, updatedAt, expiresAt, revision, entries } = record;
    const values = [createdAt, updatedAt, expiresAt, revision, toJson(entries)];
    const rows = await this.#run('create', key, values, call.deadline);
    return { outcome: rows.length > 0 ? 'created' : 'exists' };
  }

  async update(key: string, changes: Changes, call: Call): Promise<Updated> {
    const { set, expect, updatedAt, expiresAt } = changes;
    const isTouch = set.size === 0 && changes.delete.length === 0;
    const deleted = JSON.stringify(changes.delete.map(toText));
    const values = [updatedAt, expiresAt, isTouch ? undefined : toJson(set), deleted];
    const [row] = expect?.size
      ? await this.#run('updateExpected', key, [...values, toJson(expect)], call.deadline)
      : await this.#run('update', key, values, call.deadline);
    if (!row) return { outcome: 'gone' };
    const [revision, actual] = row;
    if (revision === null) return { outcome: 'conflict', actual: fromJson(actual as string) };
    return { outcome: 'updated', revision: Number(revision) };
  }

  async destroy(key: string, call: DestroyCall): Promise<Destroyed> {
    const { revision, replaced, deadline } = call;
    const [row] = replaced
      ? await this.#run('replace', key, [revision, replaced.by, replaced.until], deadline)
      : await this.#run('destroy', key, [revision], deadline);
    const outcome = row?.[0];
    if (row && (outcome === 'destroyed' || outcome === 'changed')) return { outcome, record: toRecord(row) };
    return noneToDestroy(toAbsent(row));
  }

  /** Groups of sessions, such as those of one owner: a row each, with the sessions' keys and instants. */
  readonly index: SessionIndex = {
    add: async (group, key, until, call) =>
      (await this.#run('add', `group:${group}`, [key, until, call.limit], call.deadline)).length > 0,
    remove: async (group, key, call) => void (await this.#run('remove', `group:${group}`, [key], call.deadline)),
    keys: async (group, call) => (await this.#run('keys', `group:${group}`, [], call.deadline)).map(toKey),
  };

  async *scan(call: () => Call): AsyncIterable<readonly string[]> {
    for (let last: string | undefined = ''; last !== undefined; ) {
      const keys: string[] = (await this.#run('scan', last, [], call().deadline)).map(toKey);
      yield keys;
      last = keys[BATCH - 1];
    }
  }

  /**
   * Removes expired rows, up to an hour after they expired, and resolves with their number. The store does so by itself
   * every `sweepInterval` seconds; any number of processes may at once.
   */
  async sweep(): Promise<number> {
    for (let total = 0; ; ) {
      const [row] = await this.#run('sweep', '', [], performance.now() + 30_000);
      total += Number(row?.[0]);
      if (Number(row?.[0]) < BATCH || this.#isClosed) return total;
    }
  }

  /** Ends the removal of expired rows, after the batch in progress. The client is yours to end. */
  close(): void {
    this.#isClosed = true;
    clearInterval(this.#timer);
  }

  /** A statement that the server rolled back is sent again, since it didn't happen. */
  async #run(name: keyof Statements, key: string, values: unknown[], deadline: number): Promise<Rows> {
    const texts = values.map((value) => (value === undefined ? null : String(value)));
    for (;;) {
      try {
        if (performance.now() >= deadline) throw new Error(DEADLINE_PASSED);
        const parameters = [toText(key), instantOf(deadline), ...texts];
        return await this.#runOnce(this.#statements[name], parameters, deadline);
      } catch (error) {
        if (!isRolledBack(error)) throw toPlainError(error);
      }
    }
  }
}

const toKey = ([key]: Row): string => fromText(key as string);

const CLIENTS = 'a client of pg: new Pool(…) or new Client(…), or of postgres: postgres(…)';
const isClient = (value: unknown): boolean => isPg(value) || isPostgresJs(value);

/** Postgres would cut a longer name without an error. */
const NAME = 'up to 50 letters, digits, "_" and "-", beginning with a letter or "_"';
const isName = (value: unknown): boolean => typeof value === 'string' && /^[a-z_][\w-]{0,49}$/i.test(value);

const isInterval = (value: unknown): boolean =>
  value === false || (typeof value === 'number' && value > 0 && value <= 1_000_000);

const warn = ({ message }: Error): void =>
  process.emitWarning(`Expired sessions can't be removed: ${message}`, { code: 'WSESSION_SWEEP' });
