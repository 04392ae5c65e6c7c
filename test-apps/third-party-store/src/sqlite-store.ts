import {
  applyChanges,
  type Capabilities,
  type Changes,
  type Created,
  checkStoreOptions,
  findConflict,
  type OwnerIndex,
  packRecord,
  type SessionRecord,
  type Store,
  type StoreOptions,
  type Updated,
  unpackRecord,
} from 'koa-wsession';
import type { Database } from 'node-sqlite3-wasm';

/** Sessions in a table of a SQLite database: a row a session, its entries as one packed text. */
export class SqliteStore implements Store {
  readonly expire: number;
  readonly secure: boolean;
  readonly domain: string | undefined;
  readonly capabilities: Capabilities = { seals: false, merges: true, revokes: true };
  readonly #database: Database;

  constructor(database: Database, options: StoreOptions = {}) {
    ({
      expire: this.expire,
      secure: this.secure,
      domain: this.domain,
    } = checkStoreOptions('SqliteStore', options));
    this.#database = database;
    database.exec(
      'CREATE TABLE IF NOT EXISTS owners (owner TEXT, key TEXT, until INTEGER NOT NULL, PRIMARY KEY (owner, key)) STRICT',
    );
    database.exec(
      'CREATE TABLE IF NOT EXISTS sessions (key TEXT PRIMARY KEY, expires INTEGER NOT NULL, record BLOB NOT NULL) STRICT',
    );
  }

  load(key: string): SessionRecord | undefined {
    const row = this.#database.get('SELECT record FROM sessions WHERE key = ? AND expires > ?', [
      key,
      Date.now(),
    ]);
    return row?.record instanceof Uint8Array
      ? unpackRecord(key, Buffer.from(row.record).toString())
      : undefined;
  }

  create(key: string, record: SessionRecord): Created {
    return this.#atomically(() => {
      if (this.load(key)) return { outcome: 'exists' };
      this.#write(key, record);
      return { outcome: 'created' };
    });
  }

  update(key: string, changes: Changes): Updated {
    return this.#atomically(() => {
      const record = this.load(key);
      if (!record) return { outcome: 'gone' };
      const conflict = findConflict(record, changes);
      if (conflict) return conflict;
      this.#write(key, applyChanges(record, changes));
      return { outcome: 'updated' };
    });
  }

  destroy(key: string): SessionRecord | undefined {
    return this.#atomically(() => {
      const record = this.load(key);
      this.#database.run('DELETE FROM sessions WHERE key = ?', [key]);
      return record;
    });
  }

  /** Whose sessions are whose, for `sessions.list` and `sessions.revoke`. */
  readonly owners: OwnerIndex = {
    add: (owner, key, until) => {
      this.#database.run(
        'INSERT INTO owners VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET until = max(until, excluded.until)',
        [owner, key, until],
      );
    },
    remove: (owner, key) => {
      this.#database.run('DELETE FROM owners WHERE owner = ? AND key = ?', [owner, key]);
    },
    keys: (owner) => {
      const rows = this.#database.all('SELECT key FROM owners WHERE owner = ? AND until > ?', [
        owner,
        Date.now(),
      ]);
      return rows.map((row) => String(row.key));
    },
  };

  /** Removes what expired; call it now and then. */
  sweep(): void {
    this.#database.run('DELETE FROM sessions WHERE expires <= ?', [Date.now()]);
    this.#database.run('DELETE FROM owners WHERE until <= ?', [Date.now()]);
  }

  #write(key: string, record: SessionRecord): void {
    // As bytes: SQLite ends a text at its first NUL.
    const packed = Buffer.from(packRecord(key, record));
    this.#database.run('REPLACE INTO sessions (key, expires, record) VALUES (?, ?, ?)', [
      key,
      Math.floor(record.expiresAt),
      packed,
    ]);
  }

  /** One step, towards other processes too: nobody else writes between its reading and its writing. */
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
