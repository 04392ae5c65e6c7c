import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { conformance } from 'koa-wsession/conformance';
import sqlite from 'node-sqlite3-wasm';
import { SqliteStore } from 'third-party-store';

describe('SqliteStore', () => {
  let directory: string;
  let database: sqlite.Database;
  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'sqlite-store-'));
    database = new sqlite.Database(join(directory, 'sessions.db'));
  });
  after(() => {
    database.close();
    rmSync(directory, { recursive: true });
  });

  const rename = (from: string, to: string): void => {
    for (const table of ['sessions', 'groups']) database.exec(`ALTER TABLE ${table}${from} RENAME TO ${table}${to}`);
  };

  conformance(
    { describe, it, afterEach },
    {
      name: 'SqliteStore',
      create: (options) => new SqliteStore(database, options),
      capabilities: { seals: false, merges: true, revokes: true },
      corrupt: (key) => database.run("UPDATE sessions SET record = x'00ff' WHERE key = ?", [key]),
      fail: () => rename('', '_away'),
      restore: () => rename('_away', ''),
    },
  );
});
