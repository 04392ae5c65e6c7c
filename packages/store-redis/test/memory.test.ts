import { RedisStore } from '@koa-wsession/store-redis';
import { expect } from 'chai';
import { Redis } from 'ioredis';
import { canMeasureHeap, heapGrowth, itWith, passThrough, startRedis } from 'testkit';

/** Takes a minute, and a collector to call: `npm run soak`. */
(canMeasureHeap ? describe : describe.skip)('The memory of RedisStore', () => {
  itWith(['redis-server'], 'stays flat within 2 MB over 200,000 sessions', async function () {
    this.timeout(900_000);
    const server = await startRedis();
    const redis = new Redis(server.port);
    try {
      expect(await heapGrowth(200_000, 100, () => passThrough(new RedisStore(redis)))).to.be.below(2e6);
    } finally {
      redis.disconnect();
      await server.stop();
    }
  });
});
