import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FsStore } from '@koa-wsession/store-fs';
import { PostgresStore } from '@koa-wsession/store-postgres';
import { RedisStore } from '@koa-wsession/store-redis';
import { Redis } from 'ioredis';
import { MemoryStore } from 'koa-wsession/memory';
import type { Store } from 'koa-wsession/store';
import pg from 'pg';
import { needsPostgres, startPostgres } from 'testkit/postgres';
import { itWith } from 'testkit/programs';
import { startRedis } from 'testkit/redis';

type Test = (store: Store) => Promise<void>;

/** The stores that keep sessions on the server. Each test gets a new one, and leaves nothing behind. */
const STORES = {
  MemoryStore: (test: Test): Promise<void> => test(new MemoryStore()),

  async FsStore(test: Test): Promise<void> {
    const directory = await mkdtemp(join(tmpdir(), 'app-'));
    try {
      await test(new FsStore({ directory, sweepInterval: false }));
    } finally {
      await rm(directory, { recursive: true });
    }
  },

  async RedisStore(test: Test): Promise<void> {
    const server = await startRedis();
    const redis = new Redis(server.url);
    try {
      await test(new RedisStore(redis));
    } finally {
      redis.disconnect();
      await server.stop();
    }
  },

  async PostgresStore(test: Test): Promise<void> {
    const server = await startPostgres();
    const pool = new pg.Pool({ connectionString: server.url });
    try {
      const store = new PostgresStore(pool, { sweepInterval: false });
      await store.migrate();
      await test(store);
    } finally {
      await pool.end();
      await server.stop();
    }
  },
};

export type StoreName = keyof typeof STORES;

export const SERVER_STORES: readonly StoreName[] = ['MemoryStore', 'FsStore', 'RedisStore', 'PostgresStore'];

const NEEDED: Partial<Record<StoreName, readonly string[]>> = {
  RedisStore: ['redis-server'],
  PostgresStore: needsPostgres,
};

/** `it` with a store; skipped where the store's program is missing. */
export function itOn(store: StoreName, title: string, test: Test): void {
  itWith(NEEDED[store] ?? [], `${title} (${store})`, () => STORES[store](test));
}
