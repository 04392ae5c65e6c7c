import { RedisStore } from '@koa-wsession/store-redis';
import { conformance } from 'koa-wsession/conformance';
import { describeWith } from 'testkit/programs';
import { type RedisServer, startRedis } from 'testkit/redis';
import { clients, nodeClients } from './support.js';

for (const [program, version] of [
  ['redis-server', 'ioredis 6'],
  ['redis-server', 'ioredis 5'],
  ['redis-server', 'node-redis 5'],
  ['redis-server', 'node-redis 6'],
  ['valkey-server', 'ioredis 6'],
] as const) {
  describeWith([program], `RedisStore with ${version} and ${program}`, () => {
    let server: RedisServer;
    let redis: ReturnType<typeof connect>;
    const connect = { ...clients, ...nodeClients }[version];
    // One of them is long enough for every day; faults.test.ts has them all.
    const outage = process.env.SOAK === '1' || version === 'ioredis 6';
    before(async () => {
      server = await startRedis({ program });
      redis = connect(server.port);
    });
    after(async () => {
      if ('withCommandOptions' in redis) redis.destroy();
      else redis.disconnect();
      await server.stop();
    });

    return conformance(
      { describe, it, afterEach },
      {
        name: 'RedisStore',
        create: (options) => new RedisStore(redis, options),
        capabilities: { seals: false, merges: true, revokes: true },
        corrupt: async (key) => {
          await ('withCommandOptions' in redis
            ? redis.sendCommand(['SET', `wppsess:${key}`, 'not a hash'])
            : redis.set(`wppsess:${key}`, 'not a hash'));
        },
        ...(outage && {
          fail: () => server.kill('SIGSTOP'),
          restore: () => server.kill('SIGCONT'),
        }),
      },
    );
  });
}
