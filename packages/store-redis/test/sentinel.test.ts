import { RedisStore } from '@koa-wsession/store-redis';
import { expect } from 'chai';
import { Redis } from 'ioredis';
import { Redis as Redis5 } from 'ioredis5';
import { type Served, serve } from 'testkit/http';
import { describeWith } from 'testkit/programs';
import { type RedisSentinels, startSentinels } from 'testkit/redis';
import { counterApp } from './app.js';
import { describeOutcome, startLoad } from './load.js';

const versions = {
  'ioredis 6': ({ name, sentinels }: RedisSentinels) =>
    new Redis({ name, sentinels: [...sentinels], socketTimeout: 1000 }).on('error', () => {}),
  'ioredis 5': ({ name, sentinels }: RedisSentinels) =>
    new Redis5({ name, sentinels: [...sentinels], socketTimeout: 1000 }).on('error', () => {}),
};

for (const [version, connect] of Object.entries(versions)) {
  if (version !== 'ioredis 6' && process.env.SOAK !== '1') continue; // one of them is long enough for every day
  describeWith(['redis-server'], `A master with two replicas and three sentinels, with ${version}`, function () {
    this.timeout(60_000);
    let sentinels: RedisSentinels;
    let redis: ReturnType<typeof connect>;
    let served: Served;
    beforeEach(async () => {
      sentinels = await startSentinels();
      redis = connect(sentinels);
      served = await serve(counterApp(new RedisStore(redis), 1000));
    });
    afterEach(async () => {
      await served.close();
      redis.disconnect();
      await sentinels.stop();
    });

    for (const [problem, signal] of [
      ['crashes', 'SIGKILL'],
      ['hangs', 'SIGSTOP'],
    ] as const) {
      if (signal === 'SIGKILL' && process.env.SOAK !== '1') continue; // the harder one is enough for every day
      it(`survives that the master ${problem} under load`, async function () {
        const load = await startLoad(served.url, 12);
        await load.settled();
        await sentinels.nodes[0]?.kill(signal);
        await load.settled();
        const outcome = await load.end();
        this.test!.title += ` (${describeOutcome(outcome)})`;
        expect(outcome.lost).to.be.at.most(12 * 2, 'no more than what was on its way to the replicas');
      });
    }
  });
}
