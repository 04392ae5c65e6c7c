import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FsStore } from '@koa-wsession/store-fs';
import { RedisStore } from '@koa-wsession/store-redis';
import { Redis } from 'ioredis';
import type { Store } from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import { has } from 'testkit/programs';
import { startRedis } from 'testkit/redis';

/** Runs a test on a store; `test` is skipped where the store can't be had. */
type WithStore = (use: (store: Store) => Promise<void>, test: { skip(): never }) => Promise<void>;

/** The stores that keep sessions on the server, for tests: each gets a new one, of which nothing is left afterwards. */
export const SERVER_STORES: Readonly<Record<'MemoryStore' | 'FsStore' | 'RedisStore', WithStore>> = {
  MemoryStore: (use) => use(new MemoryStore()),

  async FsStore(use) {
    const directory = await mkdtemp(join(tmpdir(), 'app-'));
    try {
      await use(new FsStore({ directory, sweepInterval: false }));
    } finally {
      await rm(directory, { recursive: true });
    }
  },

  async RedisStore(use, test) {
    if (!has('redis-server')) {
      console.log('      skipped: redis-server is missing: apt-get install redis-server');
      test.skip();
    }
    const server = await startRedis();
    const redis = new Redis(server.url);
    try {
      await use(new RedisStore(redis));
    } finally {
      redis.disconnect();
      await server.stop();
    }
  },
};
