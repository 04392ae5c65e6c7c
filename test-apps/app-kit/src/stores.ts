import { randomBytes } from 'node:crypto';
import { CookieStore } from '@koa-wsession/store-cookie';
import { FsStore } from '@koa-wsession/store-fs';
import { PostgresStore } from '@koa-wsession/store-postgres';
import { RedisStore } from '@koa-wsession/store-redis';
import { Redis } from 'ioredis';
import { MemoryStore } from 'koa-wsession/memory';
import type { Store, StoreOptions } from 'koa-wsession/store';
import pg from 'pg';

export interface Choice {
  readonly store: Store;
  /** Where its sessions are, for people. */
  readonly place: string;
}

/** The one line that is different for each store. */
export async function chooseStore(name: string, options: StoreOptions): Promise<Choice> {
  switch (name) {
    case 'cookie':
      // Without a SESSION_SECRET, a restart of the app ends every session.
      return {
        store: new CookieStore(process.env.SESSION_SECRET ?? randomBytes(32).toString('base64'), options),
        place: 'sealed in your cookie',
      };
    case 'fs':
      return { store: new FsStore(options), place: 'a file under ./sessions' };
    case 'redis': {
      const url = process.env.REDIS_URL ?? 'redis://127.0.0.1:6379';
      const redis = new Redis(url);
      redis.on('error', (error) => console.error(`Redis: ${error.message}`));
      return { store: new RedisStore(redis, options), place: 'a hash in Redis' };
    }
    case 'postgres': {
      const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL ?? 'postgres://localhost' });
      pool.on('error', (error) => console.error(`Postgres: ${error.message}`));
      const store = new PostgresStore(pool, options);
      await store.migrate();
      return { store, place: 'a row in Postgres' };
    }
    case 'memory':
      return { store: new MemoryStore(options), place: 'the memory of this process' };
    default:
      throw new Error(`Invalid STORE: expected cookie, fs, redis, postgres or memory, got ${JSON.stringify(name)}.`);
  }
}
