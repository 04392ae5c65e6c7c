import { RedisStore } from '@koa-wsession/store-redis';
import type { Redis } from 'ioredis';
import type { Redis as Redis5 } from 'ioredis5';
import { conformance } from 'koa-wsession/conformance';
import { hasRedis, type RedisServer, startRedis } from 'testkit/redis';
import { clients } from './support.js';

for (const [program, version] of [
  ['redis-server', 'ioredis 6'],
  ['redis-server', 'ioredis 5'],
  ['valkey-server', 'ioredis 6'],
] as const) {
  describe(`RedisStore with ${version} and ${program}`, () => {
    if (program === 'valkey-server' && !hasRedis(program)) {
      return it.skip('is not tested here, where no valkey-server is installed');
    }
    let server: RedisServer;
    let redis: Redis | Redis5;
    before(async () => {
      server = await startRedis({ program });
      redis = clients[version](server.port);
    });
    after(async () => {
      redis.disconnect();
      await server.stop();
    });

    return conformance(
      { describe, it, afterEach },
      {
        name: 'RedisStore',
        create: (options) => new RedisStore(redis, options),
        capabilities: { seals: false, merges: true, revokes: true },
        corrupt: async (key) => void (await redis.set(`wppsess:${key}`, 'not a hash')),
        breakIt: () => server.kill('SIGSTOP'),
        mendIt: () => server.kill('SIGCONT'),
      },
    );
  });
}
