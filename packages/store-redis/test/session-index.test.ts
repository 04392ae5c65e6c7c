import { RedisStore } from '@koa-wsession/store-redis';
import { expect } from 'chai';
import { Redis } from 'ioredis';
import { describeWith } from 'testkit/programs';
import { address, call, HOUR } from 'testkit/records';
import { type RedisServer, startRedis } from 'testkit/redis';

describeWith(['redis-server'], 'The index of RedisStore', () => {
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

  it('is one sorted set of addresses a group, removed with the last of them', async () => {
    const [group, one, other] = [address(), address(), address()];
    const until = Date.now() + HOUR;
    await store.index.add(group, one, until + HOUR, call());
    await store.index.add(group, other, until, call());
    expect(await redis.keys('*')).to.deep.equal([`shop:group:${group}`]);
    expect(await redis.zrange(`shop:group:${group}`, '0', '-1', 'WITHSCORES')).to.deep.equal([
      ...[other, String(until)],
      ...[one, String(until + HOUR)],
    ]);
    expect(await redis.pttl(`shop:group:${group}`)).to.be.within(2 * HOUR - 2000, 2 * HOUR);
    await store.index.remove(group, one, call());
    expect(await store.index.keys(group, call())).to.deep.equal([other]);
    await store.index.remove(group, other, call());
    expect(await redis.dbsize()).to.equal(0);
  });

  it('keeps the later of two instants', async () => {
    const [group, key, until] = [address(), address(), Date.now() + HOUR];
    for (const instant of [until, until + 1, until - 1]) await store.index.add(group, key, instant, call());
    expect(await redis.zscore(`shop:group:${group}`, key)).to.equal(String(until + 1));
  });

  it('removes expired entries as soon as something is added', async () => {
    const [group, brief, long] = [address(), address(), address()];
    const time = Date.now();
    await store.index.add(group, brief, time + HOUR, call());
    Date.now = () => time + HOUR - 1;
    expect(await store.index.keys(group, call())).to.deep.equal([brief]);
    Date.now = () => time + HOUR;
    expect(await store.index.keys(group, call())).to.deep.equal([]);
    await store.index.add(group, long, time + 3 * HOUR, call());
    expect(await redis.zrange(`shop:group:${group}`, '0', '-1')).to.deep.equal([long]);
    await store.index.add(group, brief, time, call());
    expect(await store.index.keys(group, call())).to.deep.equal([long]);
  });

  it('counts an expired entry as a new session where there is a limit', async () => {
    const [group, returning, other] = [address(), address(), address()];
    const time = Date.now();
    await store.index.add(group, returning, time + HOUR, call());
    await store.index.add(group, other, time + 3 * HOUR, call());
    Date.now = () => time + 2 * HOUR;
    const limited = { ...call(), limit: 1 };
    expect(await store.index.add(group, returning, time + 4 * HOUR, limited)).to.equal(false);
    expect(await store.index.keys(group, call())).to.deep.equal([other]);
    expect(await store.index.add(group, returning, time + 4 * HOUR, { ...limited, limit: 2 })).to.equal(true);
  });

  it('has an evicted session again once that is added again', async () => {
    const [group, key, until] = [address(), address(), Date.now() + HOUR];
    await store.index.add(group, key, until, call());
    await redis.del(`shop:group:${group}`);
    await store.index.add(group, key, until, call());
    expect(await store.index.keys(group, call())).to.deep.equal([key]);
  });

  it('stores nothing for a session that is expired already', async () => {
    await store.index.add(address(), address(), Date.now() - 1, call());
    expect(await redis.dbsize()).to.equal(0);
  });

  it('may last longer than Redis can count, whatever the clock says', async () => {
    const [group, key] = [address(), address()];
    Date.now = () => 1_000_000_000_000.5;
    await store.index.add(group, key, 1e300, call());
    expect(await store.index.keys(group, call())).to.deep.equal([key]);
    expect(await redis.pttl(`shop:group:${group}`)).to.be.above(0);
  });

  it('is empty where the key holds anything else, and replaces that', async () => {
    const [group, key] = [address(), address()];
    await redis.set(`shop:group:${group}`, 'damaged');
    expect(await store.index.keys(group, call())).to.deep.equal([]);
    await store.index.remove(group, key, call());
    await store.index.add(group, key, Date.now() + HOUR, call());
    expect(await store.index.keys(group, call())).to.deep.equal([key]);
  });

  it('refuses to add where Redis is out of memory, and can be read', async () => {
    const [group, key] = [address(), address()];
    await store.index.add(group, key, Date.now() + HOUR, call());
    await redis.config('SET', 'maxmemory', '1');
    try {
      for (const one of [group, address()]) {
        const adding = Promise.resolve(store.index.add(one, address(), Date.now() + HOUR, call()));
        expect(await adding.catch(String)).to.match(/^Error: Redis: .*OOM/);
      }
      expect(await store.index.keys(group, call())).to.deep.equal([key]);
    } finally {
      await redis.config('SET', 'maxmemory', '0');
    }
  });
});
