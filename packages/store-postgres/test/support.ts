import { PostgresStore, type PostgresStoreOptions } from '@koa-wsession/store-postgres';
import pg from 'pg';
import postgres from 'postgres';

/** What a test needs of a client of either library. */
export interface TestClient {
  store(options?: PostgresStoreOptions): PostgresStore;
  end(): Promise<void>;
}

export interface ClientOptions {
  port: number;
  user?: string;
  max?: number;
  /** Milliseconds. */
  connectionTimeout?: number;
}

const database = ({ port, user = 'app', max = 10 }: ClientOptions) => ({
  ...{ host: '127.0.0.1', port, user, max, database: 'postgres' },
});

/** The clients that the store takes. */
export const clients = {
  pg: (options: ClientOptions): TestClient => {
    const pool = new pg.Pool(database(options));
    return testClient(pool, () => pool.end());
  },
  postgres: (options: ClientOptions): TestClient => {
    const sql = postgres({ ...database(options), backoff: () => 0.05 });
    return testClient(sql, () => sql.end({ timeout: 0 }));
  },
};

/** Closes its stores when it ends: a sweep of theirs would warn in the middle of another test. */
function testClient(client: pg.Pool | postgres.Sql, end: () => Promise<void>): TestClient {
  const stores: PostgresStore[] = [];
  return {
    store: (options) => {
      const store = new PostgresStore(client, options);
      stores.push(store);
      return store;
    },
    end: () => {
      for (const store of stores) store.close();
      return end();
    },
  };
}

export type ClientName = keyof typeof clients;
export const NAMES = Object.keys(clients) as ClientName[];

/** Runs SQL as the superuser, on a connection of its own. */
export async function query(port: number, text: string, values: unknown[] = []): Promise<pg.QueryResult['rows']> {
  const client = new pg.Client(database({ port }));
  await client.connect();
  try {
    return (await client.query(text, values)).rows;
  } finally {
    await client.end();
  }
}

/** Waits until a condition holds. */
export async function until(what: string, holds: () => boolean | Promise<boolean>, timeout = 15_000): Promise<void> {
  for (const end = Date.now() + timeout; !(await holds()); ) {
    if (Date.now() > end) throw new Error(`Not within ${timeout} ms: ${what}.`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
