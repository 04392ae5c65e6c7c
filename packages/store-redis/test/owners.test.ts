import { RedisStore } from '@koa-wsession/store-redis';
import { expect } from 'chai';
import { Redis } from 'ioredis';
import { describeWith } from 'testkit/programs';
import { type RedisServer, startRedis } from 'testkit/redis';
import { address, call, HOUR } from './support.js';

describeWith(['redis-server'], 'What RedisStore keeps of an owner', () => {
  let server: RedisServer;
  let redis: Redis;
  let store: RedisStore;
  before(async () => {
    server = await startRedis();
    redis = new Redis(server.port);
    store = new RedisStore(redis, { prefix: 'shop:' });
  });
  after(async () => {
    redis.disconnect();
    await server.stop();
  });
  beforeEach(() => redis.flushall());
  const { now } = Date;
  afterEach(() => {
    Date.now = now;
  });

  it('is one sorted set of addresses, which goes with the last of them', async () => {
    const [owner, one, other] = [address(), address(), address()];
    const until = Date.now() + HOUR;
    await store.owners.add(owner, one, until + HOUR, call());
    await store.owners.add(owner, other, until, call());
    expect(await redis.keys('*')).to.deep.equal([`shop:owner:${owner}`]);
    expect(await redis.zrange(`shop:owner:${owner}`, '0', '-1', 'WITHSCORES')).to.deep.equal([
      ...[other, String(until)],
      ...[one, String(until + HOUR)],
    ]);
    expect(await redis.pttl(`shop:owner:${owner}`)).to.be.within(2 * HOUR - 2000, 2 * HOUR);
    await store.owners.remove(owner, one, call());
    expect(await store.owners.keys(owner, call())).to.deep.equal([other]);
    await store.owners.remove(owner, other, call());
    expect(await redis.dbsize()).to.equal(0);
  });

  it('keeps the later of two instants', async () => {
    const [owner, key, until] = [address(), address(), Date.now() + HOUR];
    for (const instant of [until, until + 1, until - 1]) await store.owners.add(owner, key, instant, call());
    expect(await redis.zscore(`shop:owner:${owner}`, key)).to.equal(String(until + 1));
  });

  it('loses what is over as soon as something is added', async () => {
    const [owner, brief, long] = [address(), address(), address()];
    const time = Date.now();
    await store.owners.add(owner, brief, time + HOUR, call());
    Date.now = () => time + HOUR - 1;
    expect(await store.owners.keys(owner, call())).to.deep.equal([brief]);
    Date.now = () => time + HOUR;
    expect(await store.owners.keys(owner, call())).to.deep.equal([]);
    await store.owners.add(owner, long, time + 3 * HOUR, call());
    expect(await redis.zrange(`shop:owner:${owner}`, '0', '-1')).to.deep.equal([long]);
    await store.owners.add(owner, brief, time, call());
    expect(await store.owners.keys(owner, call())).to.deep.equal([long]);
  });

  it('is nothing at all where what is added is over already', async () => {
    await store.owners.add(address(), address(), Date.now() - 1, call());
    expect(await redis.dbsize()).to.equal(0);
  });

  it('may last longer than Redis can count, whatever the clock says', async () => {
    const [owner, key] = [address(), address()];
    Date.now = () => 1_000_000_000_000.5;
    await store.owners.add(owner, key, 1e300, call());
    expect(await store.owners.keys(owner, call())).to.deep.equal([key]);
    expect(await redis.pttl(`shop:owner:${owner}`)).to.be.above(0);
  });

  it('is no index where it is anything else, and is replaced', async () => {
    const [owner, key] = [address(), address()];
    await redis.set(`shop:owner:${owner}`, 'damaged');
    expect(await store.owners.keys(owner, call())).to.deep.equal([]);
    await store.owners.remove(owner, key, call());
    await store.owners.add(owner, key, Date.now() + HOUR, call());
    expect(await store.owners.keys(owner, call())).to.deep.equal([key]);
  });

  it('is refused where Redis is out of memory, and read as ever', async () => {
    const [owner, key] = [address(), address()];
    await store.owners.add(owner, key, Date.now() + HOUR, call());
    await redis.config('SET', 'maxmemory', '1');
    try {
      for (const one of [owner, address()]) {
        const error = await Promise.resolve(
          store.owners.add(one, address(), Date.now() + HOUR, call()),
        ).catch(String);
        expect(error).to.match(/^Error: Redis: .*OOM/);
      }
      expect(await store.owners.keys(owner, call())).to.deep.equal([key]);
    } finally {
      await redis.config('SET', 'maxmemory', '0');
    }
  });
});
