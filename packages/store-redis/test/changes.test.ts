import { RedisStore } from '@koa-wsession/store-redis';
import { expect } from 'chai';
import { Redis } from 'ioredis';
import type { ChangeFeed, ChangeListener } from 'koa-wsession/store';
import { createCluster } from 'redis6';
import { useFakeTimers } from 'sinon';
import { describeWith } from 'testkit/programs';
import { address, call, changesOf, HOUR, recordOf, rejection } from 'testkit/records';
import { ask, type RedisServer, startRedis, startSentinels, until } from 'testkit/redis';
import { startProxy } from './proxy.js';
import { clients, nodeClients } from './support.js';

/** What a feed called, in order. */
class Log implements ChangeListener {
  readonly events: string[] = [];

  changed(key: string): void {
    this.events.push(key);
  }

  gap(): void {
    this.events.push('gap');
  }
}

/** Until the feed is connected. */
async function connected(feed: ChangeFeed): Promise<void> {
  await until('the feed is connected', () =>
    feed.sync().then(
      () => true,
      () => false,
    ),
  );
}

for (const [version, connect] of Object.entries({ ...clients, ...nodeClients })) {
  describeWith(['redis-server'], `RedisStore.changes with ${version}`, () => {
    let server: RedisServer;
    let redis: ReturnType<typeof connect>;
    let store: RedisStore;
    let feed: ChangeFeed;
    let log: Log;
    let unsubscribe: (() => unknown) | undefined;
    before(async () => {
      server = await startRedis();
      redis = connect(server.port);
    });
    after(async () => {
      if ('withCommandOptions' in redis) redis.destroy();
      else redis.disconnect();
      await server.stop();
    });
    beforeEach(() => {
      store = new RedisStore(redis);
      feed = store.changes as ChangeFeed;
      log = new Log();
    });
    afterEach(() => store.close());

    const begin = async (): Promise<void> => {
      unsubscribe = feed.subscribe(log);
      await connected(feed);
    };
    const command = (...line: string[]) => ask(server.port, line.join(' '));
    const connections = async (): Promise<number> =>
      String(await command('CLIENT', 'LIST'))
        .trim()
        .split('\n').length - 1;

    it('announces each change of a record before sync() resolves', async () => {
      await begin();
      const key = address();
      for (const change of [
        () => store.create(key, recordOf({ a: '1' }), call()),
        () => store.update(key, changesOf({ a: '2' }), call()),
        () => store.destroy(key, { ...call(), replaced: { by: 'x', until: Date.now() + HOUR } }),
        () => command('DEL', `wppsess:${key}`),
      ]) {
        log.events.length = 0;
        await change();
        await feed.sync();
        expect(log.events).to.deep.equal([key]);
      }
    });

    it('announces neither keys of other programs, nor those of the index', async () => {
      await begin();
      log.events.length = 0;
      await command('SET', `other:${address()}`, '1');
      await command('SET', `wppsess:x,wppsess:${address()}y`, '1');
      await store.index.add(address(), address(), Date.now() + HOUR, call());
      await feed.sync();
      expect(log.events).to.deep.equal([]);
    });

    it('announces each of many changes, whoever makes them', async () => {
      await begin();
      log.events.length = 0;
      const keys = Array.from({ length: 200 }, address);
      const other = new RedisStore(redis);
      await Promise.all(keys.map((key) => other.create(key, recordOf(), call())));
      await feed.sync();
      expect(new Set(log.events)).to.deep.equal(new Set(keys));
    });

    it('has a gap when all keys are deleted', async () => {
      await begin();
      log.events.length = 0;
      await command('FLUSHALL');
      await connected(feed);
      expect(log.events).to.deep.equal(['gap']);
    });

    it('opens its connection with the first subscription, and closes it with the last, or with the store', async () => {
      await store.load(address(), call());
      const before = 2; // of the client, and of the question
      await until('the last test is over', async () => (await connections()) === before);
      await begin();
      expect(await connections()).to.equal(before + 1);
      const second = feed.subscribe(new Log());
      await feed.sync();
      await second();
      expect(await connections()).to.equal(before + 1);
      await unsubscribe?.();
      await until('it is closed', async () => (await connections()) === before);
      await begin();
      store.close();
      await until('it is closed', async () => (await connections()) === before);
      expect((await rejection(feed.sync())).message).to.match(/^Redis: there is no connection/);
    });

    it('has a gap when the connection is lost, and another once it is there again, with all changes from then on', async () => {
      await begin();
      const key = address();
      await store.create(key, recordOf(), call());
      await feed.sync();
      log.events.length = 0;
      const lost = until('a gap', () => log.events.includes('gap'));
      await command('CLIENT', 'KILL', 'TYPE', version.startsWith('io') ? 'pubsub' : 'normal');
      await lost;
      await connected(feed);
      expect(log.events.filter((event) => event === 'gap').length).to.be.at.least(2);
      log.events.length = 0;
      await store.update(key, changesOf({ a: '2' }), call());
      await feed.sync();
      expect(log.events).to.deep.equal([key]);
    });

    it('warns once where Redis refuses', async () => {
      await command('ACL', 'SETUSER', 'default', '-client|tracking');
      try {
        const warning = new Promise<Error & { code?: string }>((resolve) => {
          process.on('warning', function note(warning: Error & { code?: string }) {
            if (warning.code !== 'WSESSION_FEED') return;
            process.off('warning', note);
            resolve(warning);
          });
        });
        unsubscribe = feed.subscribe(log);
        expect((await warning).message).to.equal(
          "Redis doesn't announce changes, so sessions aren't cached: NOPERM this user has no permissions to run the 'client|tracking' command",
        );
        await rejection(feed.sync());
      } finally {
        await command('ACL', 'SETUSER', 'default', '+client|tracking');
      }
    });
  });
}

describeWith(['redis-server'], 'RedisStore.changes', () => {
  let server: RedisServer;
  before(async () => {
    server = await startRedis();
  });
  after(() => server.stop());

  for (const prefix of ['', 'a,b*[c]:'])
    it(`takes the prefix ${JSON.stringify(prefix)}, and the client's keyPrefix`, async () => {
      const redis = clients['ioredis 6'](server.port, { keyPrefix: 'app,' });
      const store = new RedisStore(redis, { prefix });
      const log = new Log();
      store.changes?.subscribe(log);
      await connected(store.changes as ChangeFeed);
      const keys = [address(), address()];
      log.events.length = 0;
      await Promise.all(keys.map((key) => store.create(key, recordOf(), call())));
      await store.changes?.sync();
      expect(new Set(log.events)).to.deep.equal(new Set(keys));
      store.close();
      redis.disconnect();
    });

  it('rejects sync(), or leaves it open, while nothing gets through', async () => {
    const proxy = await startProxy(server.port);
    const redis = clients['ioredis 6'](proxy.port);
    const store = new RedisStore(redis);
    const feed = store.changes as ChangeFeed;
    const log = new Log();
    feed.subscribe(log);
    await connected(feed);
    await server.kill('SIGSTOP');
    const outcome = await Promise.race([feed.sync(), new Promise((resolve) => setTimeout(resolve, 100, 'open'))]);
    expect(outcome).to.equal('open');
    await server.kill('SIGCONT');
    log.events.length = 0;
    await proxy.close();
    await until('a gap', () => log.events.at(-1) === 'gap');
    await rejection(feed.sync());
    store.close();
    redis.disconnect();
  });

  it('replaces a connection that does not answer for 10 s', async () => {
    const redis = clients['ioredis 6'](server.port);
    const store = new RedisStore(redis);
    const feed = store.changes as ChangeFeed;
    feed.subscribe(new Log());
    await connected(feed);
    const subscriber = async () => /id=(\d+) [^\n]* sub=1/.exec(await ask(server.port, 'CLIENT LIST'))?.[1];
    const before = await subscriber();
    await server.kill('SIGSTOP');
    const clock = useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    feed.sync().catch(() => {});
    clock.tick(10_000);
    clock.restore();
    await server.kill('SIGCONT');
    await connected(feed);
    await until('another connection', async () => ![undefined, before].includes(await subscriber()));
    store.close();
    redis.disconnect();
  });

  it('follows Sentinel to another master', async function () {
    if (process.env.SOAK !== '1') return this.skip();
    this.timeout(60_000);
    const { name, sentinels, nodes, stop } = await startSentinels();
    const redis = new Redis({ name, sentinels: [...sentinels], socketTimeout: 1000 }).on('error', () => {});
    const store = new RedisStore(redis);
    const feed = store.changes as ChangeFeed;
    const log = new Log();
    try {
      feed.subscribe(log);
      await connected(feed);
      await nodes[0]?.kill('SIGKILL');
      await until('a gap', () => log.events.at(-1) === 'gap');
      const key = address();
      await store.create(key, recordOf(), call(30_000));
      await connected(feed);
      log.events.length = 0;
      await store.update(key, changesOf({ a: '2' }), call());
      await feed.sync();
      expect(log.events).to.deep.equal([key]);
    } finally {
      store.close();
      redis.disconnect();
      await stop();
    }
  });

  it('is not there with a Cluster', () => {
    const cluster = new Redis.Cluster([{ host: '127.0.0.1', port: 1 }], { lazyConnect: true });
    expect(new RedisStore(cluster).changes).to.equal(undefined);
    expect(new RedisStore(createCluster({ rootNodes: [] })).changes).to.equal(undefined);
    cluster.disconnect();
  });
});
