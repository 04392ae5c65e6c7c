import {
  type Absent,
  applyChanges,
  type Capabilities,
  type Changes,
  type Created,
  checkStoreOptions,
  type DestroyCall,
  type Destroyed,
  findConflict,
  isRecord,
  isReplacement,
  noneToDestroy,
  packRecord,
  type SessionIndex,
  type SessionRecord,
  type Store,
  type StoreOptions,
  type Updated,
  unpackRecord,
} from 'koa-wsession/store';
import type { Database, SQLiteValue } from 'node-sqlite3-wasm';

/** A row is a live record, or the mark of a replaced session: `successor`. `expires` is the instant of either. */
const SCHEMA = `
  CREATE TABLE IF NOT EXISTS sessions (key TEXT PRIMARY KEY, expires INTEGER NOT NULL, record BLOB, successor TEXT) STRICT;
  CREATE TABLE IF NOT EXISTS groups (name TEXT, key TEXT, until INTEGER NOT NULL, PRIMARY KEY (name, key)) STRICT;
`;

/** Sessions in a SQLite database: one row each, the record as one packed text. */
export class SqliteStore implements Store {
  readonly expire: number;
  readonly secure: boolean;
  readonly domain: string | undefined;
  readonly capabilities: Capabilities = { seals: false, merges: true, revokes: true };
  readonly #database: Database;

  constructor(database: Database, options: StoreOptions = {}) {
    ({ expire: this.expire, secure: this.secure, domain: this.domain } = checkStoreOptions('SqliteStore', options));
    this.#database = database;
    database.exec(SCHEMA);
  }

  load(key: string): SessionRecord | Absent {
    const now = Date.now();
    const row = this.#database.get('SELECT * FROM sessions WHERE key = ? AND expires > ?', [key, now]);
    if (!row) return undefined;
    if (row.successor !== null) return { by: String(row.successor), until: Number(row.expires) };
    return unpackRecord(key, Buffer.from(row.record as Uint8Array).toString()) ?? 'corrupt';
  }

  create(key: string, record: SessionRecord): Created {
    return this.#atomically(() => {
      const found = this.load(key);
      if (isRecord(found) || isReplacement(found)) return { outcome: 'exists' };
      this.#write(key, record);
      return { outcome: 'created' };
    });
  }

  update(key: string, changes: Changes): Updated {
    return this.#atomically(() => {
      const record = this.load(key);
      if (!isRecord(record)) return { outcome: 'gone' };
      const conflict = findConflict(record, changes);
      if (conflict) return conflict;
      const changed = applyChanges(record, changes);
      this.#write(key, changed);
      return { outcome: 'updated', revision: changed.revision };
    });
  }

  destroy(key: string, { replaced, revision }: DestroyCall): Destroyed {
    return this.#atomically(() => {
      const record = this.load(key);
      if (!isRecord(record)) return noneToDestroy(record);
      if (revision !== undefined && revision !== record.revision) return { outcome: 'changed', record };
      if (replaced) this.#run('REPLACE INTO sessions VALUES (?, ?, NULL, ?)', key, replaced.until, replaced.by);
      else this.#run('DELETE FROM sessions WHERE key = ?', key);
      return { outcome: 'destroyed', record };
    });
  }

  /** For `sessions.revokeAll()`: the keys in order, a batch at a time. */
  async *scan(): AsyncIterable<readonly string[]> {
    for (let keys = ['']; keys.length > 0; ) {
      const after = keys.at(-1) as string;
      keys = this.#keys('SELECT key FROM sessions WHERE key > ? ORDER BY key LIMIT 1000', after);
      yield keys;
    }
  }

  /** For `sessions.list()` and `sessions.revoke()`: which sessions belong to which owner. */
  readonly index: SessionIndex = {
    add: (group, key, until, { limit = Number.POSITIVE_INFINITY }) =>
      this.#atomically(() => {
        const keys = this.#keysOf(group);
        if (keys.length >= limit && !keys.includes(key)) return false;
        const latest = 'ON CONFLICT DO UPDATE SET until = max(until, excluded.until)';
        this.#run(`INSERT INTO groups VALUES (?, ?, ?) ${latest}`, group, key, Math.floor(until));
        return true;
      }),
    remove: (group, key) => this.#run('DELETE FROM groups WHERE name = ? AND key = ?', group, key),
    keys: (group) => this.#keysOf(group),
  };

  /** Removes what has expired; call it now and then. */
  sweep(): void {
    this.#run('DELETE FROM sessions WHERE expires <= ?', Date.now());
    this.#run('DELETE FROM groups WHERE until <= ?', Date.now());
  }

  #write(key: string, record: SessionRecord): void {
    // As bytes: SQLite ends a text at its first NUL.
    const packed = Buffer.from(packRecord(key, record));
    this.#run('REPLACE INTO sessions VALUES (?, ?, ?, NULL)', key, Math.floor(record.expiresAt), packed);
  }

  #keysOf(group: string): string[] {
    return this.#keys('SELECT key FROM groups WHERE name = ? AND until > ?', group, Date.now());
  }

  #keys(query: string, ...values: SQLiteValue[]): string[] {
    return this.#database.all(query, values).map(({ key }) => String(key));
  }

  #run(statement: string, ...values: SQLiteValue[]): void {
    this.#database.run(statement, values);
  }

  /** One step, also towards other processes: no other write comes between its reads and its writes. */
  #atomically<T>(step: () => T): T {
    this.#database.exec('BEGIN IMMEDIATE');
    try {
      const answer = step();
      this.#database.exec('COMMIT');
      return answer;
    } catch (error) {
      if (this.#database.inTransaction) this.#database.exec('ROLLBACK');
      throw error;
    }
  }
}
