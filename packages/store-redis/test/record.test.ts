import { RedisStore } from '@koa-wsession/store-redis';
import { expect } from 'chai';
import { Redis } from 'ioredis';
import { Client, serve } from 'testkit/http';
import { describeWith } from 'testkit/programs';
import { address, call, changesOf, contentOf, HOUR, recordOf } from 'testkit/records';
import { type RedisServer, startRedis } from 'testkit/redis';
import { counterApp } from './app.js';
import { COMMANDS, clients, nodeClients } from './support.js';

describeWith(['redis-server'], 'What RedisStore keeps in Redis', () => {
  let server: RedisServer;
  let redis: Redis;
  let store: RedisStore;
  before(async () => {
    server = await startRedis();
    redis = new Redis(server.port);
    store = new RedisStore(redis);
  });
  after(async () => {
    redis.disconnect();
    await server.stop();
  });
  beforeEach(() => redis.flushall());

  const hash = (key: string) => redis.hgetall(`wppsess:${key}`);
  const ttl = (key: string) => redis.pttl(`wppsess:${key}`);

  it('is a hash a session, with its own fields apart from those of the user', async () => {
    const key = address();
    const record = recordOf({ counter: '1', c: '"mine"', e: 'null', k: '[]', '': '0', ':': '{}' });
    await store.create(key, { ...record, updatedAt: record.createdAt + 1, revision: 7 }, call());
    const { k: names, ...fields } = await hash(key);
    expect(names).not.to.equal('');
    expect(fields).to.deep.equal({
      c: String(record.createdAt),
      u: String(record.createdAt + 1),
      e: String(record.expiresAt),
      r: '7',
      ':counter': '1',
      ':c': '"mine"',
      ':e': 'null',
      ':k': '[]',
      ':': '0',
      '::': '{}',
    });
    await store.update(key, changesOf({ c: '2' }, { delete: ['e', 'k'] }), call());
    expect(await hash(key)).to.have.all.keys('c', 'u', 'e', 'r', 'k', ':counter', ':c', ':', '::');
    expect(contentOf(await store.load(key, call()))).to.deep.equal({
      counter: '1',
      c: '2',
      '': '0',
      ':': '{}',
    });
  });

  it('stays in the compact form of small hashes, however often it is updated', async () => {
    const key = address();
    await store.create(key, recordOf({ counter: '0' }), call());
    for (let i = 1; i <= 40; i++) await store.update(key, changesOf({ counter: String(i) }), call());
    expect(await redis.hstrlen(`wppsess:${key}`, 'k')).to.equal(64);
    expect(await redis.object('ENCODING', `wppsess:${key}`)).to.match(/^(listpack|ziplist)$/);
  });

  it('is a mark where the session goes on under another id: its successor and its own expiry, and no data', async () => {
    const [key, by] = [address(), address()];
    await store.create(key, recordOf({ a: '1' }), call());
    const replaced = { by, until: Date.now() + 60_000 };
    await store.destroy(key, { ...call(), replaced });
    expect(await hash(key)).to.deep.equal({ b: by, e: String(replaced.until) });
    expect(await ttl(key)).to.be.within(58_000, 60_000);
    await store.destroy(key, call());
    expect(await store.load(key, call())).to.deep.equal(replaced);
  });

  it('leaves a mark also where Redis is out of memory', async () => {
    const [key, by] = [address(), address()];
    await store.create(key, recordOf({ a: '1' }), call());
    await redis.config('SET', 'maxmemory', '1');
    try {
      const { outcome } = await store.destroy(key, {
        ...call(),
        replaced: { by, until: Date.now() + 60_000 },
      });
      expect(outcome).to.equal('destroyed');
      expect(await store.destroy(key, call())).to.deep.equal({ outcome: 'replaced', by });
    } finally {
      await redis.config('SET', 'maxmemory', '0');
    }
  });

  it('expires with the session, and is removed by destroy', async () => {
    const [brief, ended] = [address(), address()];
    await store.create(brief, recordOf({}, Date.now() + 2 * HOUR), call());
    expect(await ttl(brief)).to.be.within(2 * HOUR - 1000, 2 * HOUR);
    await store.update(brief, changesOf({}, { expiresAt: Date.now() + HOUR }), call());
    expect(await ttl(brief)).to.be.within(HOUR - 1000, HOUR);
    await store.create(ended, recordOf(), call());
    await store.destroy(ended, call());
    expect(await redis.keys('*')).to.deep.equal([`wppsess:${brief}`]);
    // Half a millisecond, which no time to live can express, is over at once.
    await store.update(brief, changesOf({}, { expiresAt: Date.now() - 0.5 }), call());
    expect(await redis.dbsize()).to.equal(0);
  });

  it('lives as long as it should, even where the clocks of app and Redis are worlds apart', async () => {
    const { now } = Date;
    try {
      for (const time of [0, 4_102_444_800_000, 1_000_000_000_000.5]) {
        Date.now = () => time;
        const key = address();
        const record = recordOf({ a: '1' });
        await store.create(key, record, call());
        expect(await store.load(key, call())).to.deep.equal(record);
        expect(await ttl(key)).to.be.within(HOUR - 1000, HOUR);
        await store.update(key, changesOf({ b: '2' }), call());
        expect(await ttl(key)).to.be.within(HOUR - 1000, HOUR);
        Date.now = () => time + HOUR;
        expect(await store.load(key, call())).to.equal('expired');
      }
    } finally {
      Date.now = now;
    }
  });

  it('may live longer than Redis can count', async () => {
    const key = address();
    const record = recordOf({ a: '1' }, 1e300);
    await store.create(key, record, call());
    expect(await store.load(key, call())).to.deep.equal(record);
    await redis.hset(`wppsess:${key}`, 'e', '1e+300'); // so others write it
    expect(await store.load(key, call())).to.deep.equal(record);
    const years = 10 * 365 * 24 * HOUR;
    await store.update(key, changesOf({}, { expiresAt: Date.now() + years }), call());
    expect(await ttl(key)).to.be.within(years - 1000, years);
  });

  it('takes no value for a field', async () => {
    const key = address();
    await store.create(key, recordOf({ a: '1', b: '2' }), call());
    await store.update(key, changesOf({ a: ':b' }), call());
    await store.update(key, changesOf({ c: ':b' }, { delete: ['a'] }), call());
    expect(contentOf(await store.load(key, call()))).to.deep.equal({ b: '2', c: ':b' });
  });

  it('is as large as the session: 1,000 keys and 5 MB survive create, update and destroy', async () => {
    const key = address();
    const many = Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [`key ${i}`, `${i}`]));
    const large = { ...many, large: '😀'.repeat(1_250_000), '\ufeffBOM\0': '\ufeff\0' };
    await store.create(key, recordOf(large), call());
    const next = { ...large, large: 'ä'.repeat(2_500_000) };
    const dropped = Object.keys(many).slice(0, 500);
    await store.update(key, changesOf(next, { delete: dropped }), call());
    const left = Object.fromEntries(Object.entries(next).filter(([name]) => !dropped.includes(name)));
    expect(contentOf(await store.destroy(key, call()))).to.deep.equal(left);
  });

  describe('is no record, and can be replaced, where', () => {
    const later = String(Date.now() + HOUR);
    const damages: Record<string, (key: string) => Promise<unknown>> = {
      'it expired': (key) => redis.hset(key, 'e', String(Date.now() - 1)),
      'it has no expiry': (key) => redis.hdel(key, 'e'),
      'its expiry is no number': (key) => redis.hset(key, 'e', 'tomorrow'),
      'its expiry is a number for Lua alone': (key) => redis.hset(key, 'e', '0xfffffffffffff'),
      'its expiry is a number for Lua alone, whatever it ends in': (key) => redis.hset(key, 'e', '0xfffffffffff0'),
      'its expiry is nothing': (key) => redis.hset(key, 'e', ''),
      'its creation is missing': (key) => redis.hdel(key, 'c'),
      'its creation is no number': (key) => redis.hset(key, 'c', '1.2.3'),
      'its revision is missing': (key) => redis.hdel(key, 'r'),
      'its last update is no number': (key) => redis.hset(key, 'u', 'yesterday'),
      'it is a mark without an expiry': async (key) => [await redis.del(key), await redis.hset(key, 'b', 'other')],
      'it is a string': (key) => redis.set(key, later),
      'it is a list': async (key) => [await redis.del(key), await redis.rpush(key, 'e', later)],
      'it is a set': async (key) => [await redis.del(key), await redis.sadd(key, 'e')],
      'it is a sorted set': async (key) => [await redis.del(key), await redis.zadd(key, later, 'e')],
      'it is a stream': async (key) => [await redis.del(key), await redis.xadd(key, '*', 'e', later)],
    };
    for (const [problem, damage] of Object.entries(damages)) {
      it(problem, async () => {
        const key = address();
        await store.create(key, recordOf({ old: '1' }), call());
        await damage(`wppsess:${key}`);
        expect(await store.load(key, call())).to.equal(problem === 'it expired' ? 'expired' : 'corrupt');
        expect(await store.update(key, changesOf({ a: '1' }), call())).to.deep.equal({ outcome: 'gone' });
        expect(await store.create(key, recordOf({ new: '1' }), call())).to.deep.equal({ outcome: 'created' });
        expect(contentOf(await store.load(key, call()))).to.deep.equal({ new: '1' });

        await damage(`wppsess:${key}`);
        expect(await store.destroy(key, call())).to.deep.equal({ outcome: 'none' });
        expect(await redis.exists(`wppsess:${key}`)).to.equal(0);
      });
    }
  });

  it('may have 70,000 keys', async () => {
    const many = Object.fromEntries(Array.from({ length: 70_000 }, (_, i) => [`key ${i}`, '1']));
    for (const [version, connect] of Object.entries({ ...clients, ...nodeClients })) {
      const client = connect(server.port);
      try {
        const own = new RedisStore(client);
        const key = address();
        await own.create(key, recordOf(many), call(20_000));
        const expected = new Map(Object.entries(many));
        const changes = changesOf(many, { expect: expected });
        expect(await own.update(key, changes, call(20_000)), version).to.deep.include({ outcome: 'updated' });
        const dropped = changesOf({}, { delete: Object.keys(many).slice(1) });
        expect(await own.update(key, dropped, call(20_000)), version).to.deep.include({ outcome: 'updated' });
        expect(contentOf(await own.load(key, call())), version).to.deep.equal({ 'key 0': '1' });
      } finally {
        if ('isOpen' in client) client.destroy();
        else client.disconnect();
      }
    }
  }).timeout(60_000);

  it('is read without fields that are not ours', async () => {
    const key = address();
    const record = recordOf({ a: '1' });
    await store.create(key, record, call());
    await redis.hset(`wppsess:${key}`, 'foreign', 'field', '', '');
    expect(await store.load(key, call())).to.deep.equal(record);
  });

  it('is found by the address alone: the id of the cookie is in no key and no value', async () => {
    const served = await serve(counterApp(store));
    try {
      const visitor = new Client(served);
      await visitor.get('/count');
      expect((await visitor.get('/count')).body).to.equal('2');
      const id = visitor.jar.get('wsession') ?? '';
      expect(id).to.have.length(32);

      const keys = await redis.keys('*');
      expect(keys).to.have.length(1);
      expect(keys[0]).to.match(/^wppsess:[\w-]{43}$/);
      expect(await redis.ttl(String(keys[0]))).to.be.within(3590, 3600);
      expect(JSON.stringify([keys, await redis.hgetall(String(keys[0]))])).not.to.contain(id);
    } finally {
      await served.close();
    }
  });

  describe('is the same, however the client is set up:', () => {
    const setups = {
      'with keyPrefix, which comes before the prefix': { keyPrefix: 'app1:' },
      'with enableAutoPipelining': { enableAutoPipelining: true },
      'with RESP2': { protocol: 2 },
      'with the shapes of RESP3': { replyMapping: 'resp3' },
      'with stringNumbers': { stringNumbers: true },
      'with lazyConnect': { lazyConnect: true },
      'with lazyConnect and without an offline queue': { lazyConnect: true, enableOfflineQueue: false },
      'with another database': { db: 3 },
    } as const;
    for (const [setup, options] of Object.entries(setups)) {
      it(setup, async () => {
        const own = new Redis({ port: server.port, ...options });
        try {
          const other = new RedisStore(own);
          const key = address();
          await other.create(key, recordOf({ a: '1' }), call());
          await Promise.all([
            other.update(key, changesOf({ b: '2' }), call()),
            other.update(key, changesOf({ c: '3' }), call()),
          ]);
          const expect0 = changesOf({ a: '9' }, { expect: new Map([['a', '0']]) });
          expect(await other.update(key, expect0, call())).to.deep.equal({
            outcome: 'conflict',
            actual: new Map([['a', '1']]),
          });
          const absent = changesOf({ a: '9' }, { expect: new Map([['no', 'x']]) });
          expect(await other.update(key, absent, call())).to.deep.equal({
            outcome: 'conflict',
            actual: new Map([['no', undefined]]),
          });
          expect(contentOf(await other.load(key, call()))).to.deep.equal({ a: '1', b: '2', c: '3' });
          expect(await other.load(address(), call())).to.equal(undefined);
          if ('keyPrefix' in options) expect(await redis.exists(`app1:wppsess:${key}`)).to.equal(1);
          expect(contentOf(await other.destroy(key, call()))).to.deep.equal({ a: '1', b: '2', c: '3' });
        } finally {
          own.disconnect();
        }
      });
    }
  });

  it('needs no more rights than these', async () => {
    const rights = ['~wppsess:*', '+@connection', '+info', ...COMMANDS.map((command) => `+${command}`)];
    await redis.call('ACL', 'SETUSER', 'sessions', 'on', '>secret', ...rights);
    const limited = new Redis({ port: server.port, username: 'sessions', password: 'secret' });
    try {
      const other = new RedisStore(limited);
      const key = address();
      await other.create(key, recordOf({ a: '1' }), call());
      await other.update(key, changesOf({ b: '2' }, { delete: ['a'] }), call());
      expect(contentOf(await other.load(key, call()))).to.deep.equal({ b: '2' });
      await other.destroy(key, call());
      await redis.set(`wppsess:${key}`, 'damaged');
      await other.create(key, recordOf(), call());
      await other.index.add(key, key, Date.now() + HOUR, call());
      expect(await other.index.keys(key, call())).to.deep.equal([key]);
      await other.index.remove(key, key, call());
      expect((await other.scan(() => call()).next()).value).to.deep.equal([key]);
    } finally {
      limited.disconnect();
    }
  });
});
