import { RedisStore } from '@koa-wsession/store-redis';
import { expect } from 'chai';
import type { Redis } from 'ioredis';
import type { Redis as Redis5 } from 'ioredis5';
import { Client, type Served, serve } from 'testkit/http';
import { describeWith } from 'testkit/programs';
import { type RedisServer, startRedis, until } from 'testkit/redis';
import { counterApp } from './app.js';
import { startProxy } from './proxy.js';
import { type ClientOptions, clients, nodeClients } from './support.js';

const TIMEOUT = 750;
/** What a busy machine may add. */
const SLACK = 8000;

type Version = keyof typeof clients | keyof typeof nodeClients;

const SETUPS: Array<[title: string, version: Version, options: ClientOptions]> = [
  ['node-redis 5', 'node-redis 5', {}],
  ['node-redis 6', 'node-redis 6', {}],
  ['ioredis 6', 'ioredis 6', {}],
  ['ioredis 5', 'ioredis 5', {}],
  ['ioredis 6 without an offline queue', 'ioredis 6', { enableOfflineQueue: false }],
  ['ioredis 5 without an offline queue', 'ioredis 5', { enableOfflineQueue: false, lazyConnect: true }],
  ['ioredis 6 that never gives up', 'ioredis 6', { maxRetriesPerRequest: null }],
  ['ioredis 6 that gives up at once', 'ioredis 6', { maxRetriesPerRequest: 0 }],
  ['ioredis 6 with auto-pipelining', 'ioredis 6', { enableAutoPipelining: true }],
  ['ioredis 5 with auto-pipelining', 'ioredis 5', { enableAutoPipelining: true }],
];

describeWith(['redis-server'], 'An outage of Redis', () => {
  let server: RedisServer;
  let redis: Redis | Redis5;
  let store: RedisStore;
  let close: () => void;
  let admin: Redis;
  let served: Served;
  let visitor: Client;
  /** The count that the visitor was last told. */
  let acknowledged = 0;
  const unhandled: unknown[] = [];
  const note = (reason: unknown): number => unhandled.push(reason);

  async function start(options: ClientOptions = {}, version: Version = 'ioredis 6', port = server.port) {
    if (version === 'node-redis 5' || version === 'node-redis 6') {
      const client = nodeClients[version](port);
      close = () => client.destroy();
      store = new RedisStore(client);
    } else {
      redis = clients[version](port, options);
      close = () => redis.disconnect();
      store = new RedisStore(redis);
    }
    served = await serve(counterApp(store, TIMEOUT));
    visitor = new Client(served);
    acknowledged = 0;
  }

  before(async () => {
    process.on('unhandledRejection', note);
    server = await startRedis({
      args: ['--appendonly', 'yes', '--appendfsync', 'always', '--repl-diskless-sync-delay', '0'],
    });
    admin = clients['ioredis 6'](server.port);
  });
  after(async () => {
    process.off('unhandledRejection', note);
    admin.disconnect();
    await server.stop();
  });
  afterEach(async () => {
    await served.close();
    close();
    expect(unhandled.splice(0)).to.deep.equal([]);
  });

  async function count(): Promise<void> {
    const answer = await visitor.get('/count');
    expect(answer.status).to.equal(200);
    acknowledged = Number(answer.body);
  }

  /** A request that doesn't touch the session is as good as ever. */
  async function expectFree(): Promise<void> {
    const { cookie } = visitor;
    const answer = await visitor.get('/free');
    expect([answer.status, answer.body, answer.setCookie]).to.deep.equal([200, 'free', []]);
    expect(visitor.cookie).to.equal(cookie);
  }

  /** One that does is answered 503 in time, and the visitor keeps the cookie. */
  async function expectRefused(path: string, client = visitor): Promise<void> {
    const { cookie } = client;
    const began = performance.now();
    const answer = await client.get(path);
    expect(performance.now() - began, path).to.be.below(TIMEOUT + SLACK);
    expect([answer.status, answer.setCookie], path).to.deep.equal([503, []]);
    expect(client.cookie).to.equal(cookie);
  }

  /** Without a new client, process or cookie, and with all that was acknowledged. */
  async function expectRecovered(): Promise<void> {
    await until('it recovers', async () => (await visitor.get('/read')).status === 200);
    const answer = await visitor.get('/count');
    expect(answer.status).to.equal(200);
    // What was answered 503 may have been stored.
    expect(Number(answer.body)).to.be.above(acknowledged);
    const after = await visitor.get('/count');
    expect(Number(after.body)).to.equal(Number(answer.body) + 1);
  }

  async function expectSmallOutage(begin: () => Promise<unknown>, end: () => Promise<unknown>): Promise<void> {
    await count();
    await count();
    await begin();
    await expectFree();
    await expectRefused('/count');
    await Promise.all([
      expectFree(),
      ...['/count', '/read', '/update', '/login', '/logout'].map((path) => expectRefused(path)),
      expectRefused('/count', new Client(served)),
    ]);
    await end();
    await expectRecovered();
  }

  for (const [title, version, options] of process.env.SOAK === '1' ? SETUPS : SETUPS.slice(0, 5)) {
    it(`by a crash and a restart is small: ${title}`, async () => {
      await start(options, version);
      await expectSmallOutage(
        () => server.kill('SIGKILL'),
        () => server.restart(),
      );
    });
  }

  for (const seconds of process.env.SOAK === '1' ? [0, 3, 15] : [0]) {
    for (const [title, version, options] of SETUPS.slice(0, 4)) {
      it(`by a process that hangs${seconds > 0 ? ` for ${seconds} seconds` : ''} is small: ${title}`, async function () {
        this.timeout(60_000);
        await start(options, version);
        const over = Date.now() + seconds * 1000;
        await expectSmallOutage(
          () => server.kill('SIGSTOP'),
          async () => {
            await until('it has hung so long', () => Date.now() >= over, 30_000);
            await server.kill('SIGCONT');
          },
        );
      });
    }
  }

  it('by CLIENT PAUSE is small', async () => {
    await start();
    await expectSmallOutage(
      () => admin.client('PAUSE', 5 * TIMEOUT, 'ALL'),
      () => admin.ping(),
    );
  });

  it('by a replica that lost its master and serves nothing is small', async () => {
    await start();
    await expectSmallOutage(
      async () => {
        await admin.config('SET', 'replica-serve-stale-data', 'no');
        await admin.replicaof('127.0.0.1', 1);
      },
      async () => {
        await admin.replicaof('NO', 'ONE');
        await admin.config('SET', 'replica-serve-stale-data', 'yes');
      },
    );
  });

  for (const [problem, begin, end] of [
    [
      'no memory and noeviction',
      () => admin.config('SET', 'maxmemory', '1'),
      () => admin.config('SET', 'maxmemory', '0'),
    ],
    ['a replica in place of the master', () => admin.replicaof('127.0.0.1', 1), () => admin.replicaof('NO', 'ONE')],
    [
      'too few replicas',
      () => admin.config('SET', 'min-replicas-to-write', '1'),
      () => admin.config('SET', 'min-replicas-to-write', '0'),
    ],
  ] as const) {
    it(`by ${problem} refuses what writes, whole, and nothing else`, async () => {
      await start();
      await count();
      await begin();
      try {
        await expectFree();
        expect((await visitor.get('/read')).body).to.equal('1');
        await expectRefused('/count');
        await expectRefused('/update');
        await expectRefused('/login');
        await expectRefused('/count', new Client(served));
        expect((await visitor.get('/read')).body).to.equal('1');
      } finally {
        await end();
      }
      await expectRecovered();
    });
  }

  for (const version of ['ioredis 6', 'node-redis 5'] as const) {
    it(`before the app starts is small, too: ${version}`, async () => {
      await server.kill('SIGKILL');
      await start({}, version);
      await expectFree();
      await expectRefused('/count');
      await server.restart();
      await until('it recovers', async () => (await visitor.get('/count')).status === 200);
      expect((await visitor.get('/count')).body).to.equal('2');
    });
  }

  it('that ends in time is nothing but a pause', async () => {
    await start({ retryStrategy: () => 10 });
    await count();
    await server.kill('SIGSTOP');
    const counting = visitor.get('/count');
    await until(
      'it was sent',
      () => (redis as unknown as { commandQueue: { length: number } }).commandQueue.length > 0,
    );
    await server.kill('SIGCONT');
    expect((await counting).body).to.equal('2');
  });

  it('is reported with what Redis said, and nothing of the session', async () => {
    await start();
    await count();
    await admin.config('SET', 'maxmemory', '1');
    try {
      const errors: Error[] = [];
      const app = counterApp(new RedisStore(redis), TIMEOUT);
      app.on('error', (error) => errors.push(error));
      const other = await serve(app);
      const answer = await new Client(other).get('/count');
      await other.close();
      expect(answer.status).to.equal(503);
      expect(answer.body).to.equal('Service Unavailable');
      expect(errors.map(String).join()).to.match(/^UnavailableError: .*Redis: OOM command not allowed/);
    } finally {
      await admin.config('SET', 'maxmemory', '0');
    }
  });

  describe('is none:', () => {
    it('SCRIPT FLUSH', async () => {
      await start();
      for (let i = 0; i < 3; i++) {
        await count();
        await admin.script('FLUSH');
      }
      expect(acknowledged).to.equal(3);
    });

    it('FLUSHALL makes everybody anonymous', async () => {
      await start();
      await count();
      await count();
      const { cookie } = visitor;
      await admin.flushall();
      const answer = await visitor.get('/read');
      expect([answer.status, answer.body, answer.setCookie]).to.deep.equal([200, '0', []]);
      await count();
      expect(acknowledged).to.equal(1);
      expect(visitor.cookie).not.to.equal(cookie);
    });

    it('eviction makes those anonymous whose sessions were thrown out', async () => {
      await start();
      await count();
      await count();
      await admin.config('SET', 'maxmemory-policy', 'volatile-lru');
      await admin.config('SET', 'maxmemory', '1');
      expect((await visitor.get('/read')).body).to.equal('0');
      await admin.config('SET', 'maxmemory', '0');
      await admin.config('SET', 'maxmemory-policy', 'noeviction');
      await count();
      expect(acknowledged).to.equal(1);
    });

    it('a record of another type makes its visitor anonymous', async () => {
      await start();
      await admin.flushall();
      await count();
      const [key = ''] = await admin.keys('*');
      await admin.set(key, 'something else');
      expect((await visitor.get('/read')).body).to.equal('0');
      await count();
      expect(acknowledged).to.equal(1);
      expect(await admin.get(key)).to.equal('something else');
    });

    for (const version of ['ioredis 6', 'node-redis 5', 'node-redis 6'] as const)
      it(`a connection that is cut before a reply, be it that of the first write, a merge or an update(): ${version}`, async () => {
        const proxy = await startProxy(server.port);
        try {
          await start({ retryStrategy: () => 10 }, version, proxy.port);
          await store.load('', { name: '', deadline: performance.now() + 5000 }); // until it is ready
          await served.close();
          served = await serve(counterApp(store, 5000));
          visitor = new Client(served);
          for (const [path, body] of [
            ['/count', '1'],
            ['/count', '2'],
            ['/update', '3'],
            ['/update', '4'],
            ['/read', '4'],
          ] as const) {
            // The last reply of each request: what comes before it is the reply to `load`.
            const cut = path === '/read' || body === '1' ? proxy.cutReply() : proxy.cutReply(1);
            const answer = await visitor.get(path);
            await cut;
            expect([answer.status, answer.body]).to.deep.equal([200, body]);
          }
        } finally {
          await proxy.close();
        }
      });
  });

  it('by a failover that leaves the connections to the old master ends with reconnectOnError', async () => {
    const proxy = await startProxy(server.port);
    const next = await startRedis({ args: ['--replicaof', `127.0.0.1 ${server.port}`] });
    const direct = clients['ioredis 6'](next.port);
    try {
      const reconnectOnError = (error: Error): boolean => error.message.startsWith('READONLY');
      await start({ reconnectOnError, retryStrategy: () => 10 }, 'ioredis 6', proxy.port);
      await count();
      await until('it is in sync', async () => /slave0:.*state=online/.test(await admin.info('replication')));
      await admin.wait(1, 0);
      await direct.replicaof('NO', 'ONE');
      await admin.replicaof('127.0.0.1', next.port);
      proxy.target = next.port;
      await expectRefused('/count');
      await expectRecovered();
    } finally {
      await admin.replicaof('NO', 'ONE');
      direct.disconnect();
      await next.stop();
      await proxy.close();
    }
  });

  it('where the client was closed is a 503', async () => {
    await start();
    await count();
    redis.disconnect();
    await until('it is closed', () => redis.status === 'end');
    await expectRefused('/count');
    await expectFree();
    await redis.connect();
    await expectRecovered();
  });
});
