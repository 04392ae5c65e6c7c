import { RedisStore } from '@koa-wsession/store-redis';
import { expect } from 'chai';
import { Redis } from 'ioredis';
import { createClient as createClient6 } from 'redis6';
import { describeWith } from 'testkit/programs';
import { address, call, HOUR, recordOf, rejection } from 'testkit/records';
import { type RedisServer, startRedis, until } from 'testkit/redis';
import { startProxy } from './proxy.js';
import { clients, nodeClients } from './support.js';

async function scanned(store: RedisStore): Promise<string[]> {
  const keys = new Set<string>();
  for await (const batch of store.scan(() => call())) for (const key of batch) keys.add(key);
  return [...keys].sort();
}

describeWith(['redis-server'], 'scan() of RedisStore', () => {
  let server: RedisServer;
  let redis: Redis;
  before(async () => {
    server = await startRedis();
    redis = new Redis(server.port);
  });
  after(async () => {
    redis.disconnect();
    await server.stop();
  });
  beforeEach(() => redis.flushall());

  async function fill(store: RedisStore, count: number): Promise<string[]> {
    const keys = Array.from({ length: count }, address).sort();
    await Promise.all(keys.map((key) => store.create(key, recordOf(), call())));
    return keys;
  }

  for (const [version, connect] of Object.entries({ ...clients, ...nodeClients })) {
    it(`returns the keys of all sessions, and none of the index: ${version}`, async () => {
      const client = connect(server.port);
      try {
        const store = new RedisStore(client);
        const keys = await fill(store, 2500);
        await store.index.add(address(), keys[0] ?? '', Date.now() + HOUR, call());
        expect(await scanned(store)).to.deep.equal(keys);
      } finally {
        if ('sendCommand' in client && 'destroy' in client) client.destroy();
        else client.disconnect();
      }
    });
  }

  it('leaves out keys of other prefixes and other programs, also where the prefix has the characters of patterns', async () => {
    const prefixes = ['', 'a*:', 'ab:', 'a?:', 'a[bc]:', 'a\\*:', 'a^:', 'ä😀:'];
    await redis.mset('other', '1', `a*:${'x'.repeat(42)}`, '1', `a*:${'x'.repeat(42)}:`, '1');
    for (const prefix of prefixes) {
      const store = new RedisStore(redis, { prefix });
      expect(await scanned(store), prefix).to.deep.equal([]);
    }
    const filled = new Map<string, string[]>();
    for (const prefix of prefixes) filled.set(prefix, await fill(new RedisStore(redis, { prefix }), 3));
    for (const prefix of prefixes) {
      expect(await scanned(new RedisStore(redis, { prefix })), prefix).to.deep.equal(filled.get(prefix));
    }
  });

  const withPrefix = {
    ioredis: async () => {
      const own = clients['ioredis 6'](server.port, { keyPrefix: 'app[1]:' });
      return { own, end: () => own.disconnect() };
    },
    'node-redis 6': async () => {
      const own = createClient6({ socket: { port: server.port }, keyPrefix: 'app[1]:' });
      await own.connect();
      return { own, end: () => own.destroy() };
    },
  };
  for (const [name, connect] of Object.entries(withPrefix))
    it(`takes the client's own prefix into account: ${name}`, async () => {
      const { own, end } = await connect();
      try {
        const store = new RedisStore(own);
        const keys = await fill(store, 3);
        expect((await redis.keys('*')).every((key) => key.startsWith('app[1]:wppsess:'))).to.equal(true);
        expect(await scanned(store)).to.deep.equal(keys);
        expect(await scanned(new RedisStore(redis))).to.deep.equal([]);
      } finally {
        end();
      }
    });

  it('takes the deadline of each batch', async () => {
    const store = new RedisStore(redis);
    await fill(store, 2500);
    const deadlines = [5000, 5000, 5000, -1];
    const scanning = store.scan(() => call(deadlines.shift() ?? -1));
    expect((await scanning.next()).done).to.equal(false);
    expect((await rejection(scanning.next())).message).to.equal('The time was up before Redis was asked');
  });

  it('is an error at the end where another server took over, whose cursors are others', async () => {
    const next = await startRedis();
    const proxy = await startProxy(server.port);
    const client = clients['ioredis 6'](proxy.port, { retryStrategy: () => 10 });
    try {
      await fill(new RedisStore(redis), 2500);
      const scanning = new RedisStore(client).scan(() => call());
      await scanning.next();
      proxy.target = next.port;
      const cut = proxy.cutCommand();
      client.ping().catch(() => {});
      await cut;
      await until('it is connected again', () => client.status === 'ready');
      const drain = async (): Promise<void> => {
        for await (const _ of scanning);
      };
      expect((await rejection(drain())).message).to.match(/^Redis was restarted or replaced during the scan/);
    } finally {
      client.disconnect();
      await proxy.close();
      await next.stop();
    }
  });

  it('does without the right to INFO', async () => {
    const rights = ['~wppsess:*', '+@connection', '+scan', '+eval', '+evalsha', '+type', '+hmget', '+hset', '+pexpire'];
    await redis.call('ACL', 'SETUSER', 'sessions', 'on', '>secret', ...rights);
    const limited = createClient6({
      username: 'sessions',
      password: 'secret',
      socket: { port: server.port },
    });
    await limited.connect();
    try {
      const store = new RedisStore(limited);
      const keys = await fill(store, 3);
      expect(await scanned(store)).to.deep.equal(keys);
    } finally {
      limited.destroy();
    }
  });
});
