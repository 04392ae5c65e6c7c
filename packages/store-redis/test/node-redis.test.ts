import { EventEmitter } from 'node:events';
import { RedisStore } from '@koa-wsession/store-redis';
import { expect } from 'chai';
import {
  createClient as createClient5,
  createClientPool,
  createCluster as createCluster5,
  createSentinel,
} from 'redis5';
import { createClient as createClient6, createCluster as createCluster6, RESP_TYPES } from 'redis6';
import { createSandbox } from 'sinon';
import { describeWith } from 'testkit/programs';
import { address, call, changesOf, contentOf, HOUR, recordOf, rejection } from 'testkit/records';
import { type RedisCluster, type RedisServer, startCluster, startRedis, until } from 'testkit/redis';

const sinon = createSandbox();

/** A client in nothing but its state. */
class FakeClient extends EventEmitter {
  isOpen = true;
  isReady = false;
  signals: AbortSignal[] = [];
  /** Replies to scripts. */
  script = sinon.spy(async (_args: string[]): Promise<unknown> => null);
  createPool(): void {}
  withCommandOptions(): void {}

  async sendCommand(args: string[], options: { abortSignal: AbortSignal }): Promise<unknown> {
    if (args[0] === 'info') return '';
    this.signals.push(options.abortSignal);
    return this.script(args);
  }

  become(event: 'ready' | 'end' | 'away'): void {
    this.isReady = event === 'ready';
    this.isOpen = event !== 'end';
    this.emit(event);
  }
}

describe('RedisStore with a client of node-redis', () => {
  it('takes a client and a Cluster of both versions', () => {
    const rootNodes = [{ url: 'redis://127.0.0.1' }];
    for (const client of [createClient5(), createClient6()]) new RedisStore(client);
    for (const cluster of [createCluster5({ rootNodes }), createCluster6({ rootNodes })]) new RedisStore(cluster);
  });

  for (const [what, client] of Object.entries({
    pool: createClientPool(),
    sentinel: createSentinel({ name: 'm', sentinelRootNodes: [] }),
    client: { evalSha() {}, sendCommand() {}, on() {}, off() {}, isOpen: true }, // of version 4
  })) {
    it(`refuses another ${what}`, () => {
      expect(() => new RedisStore(client as never)).to.throw(TypeError, /or of node-redis 5 or 6 \(createClient/);
    });
  }

  it('waits until it is ready, and sends then', async () => {
    const redis = new FakeClient();
    const loading = Promise.all([1, 2].map(() => new RedisStore(redis).load('KEY', call())));
    sinon.assert.notCalled(redis.script);
    redis.become('ready');
    expect(await loading).to.deep.equal([undefined, undefined]);
    sinon.assert.calledTwice(redis.script);
    expect(redis.eventNames()).to.deep.equal([]);
  });

  it('waits no longer than to the deadline, and never sends then', async () => {
    const redis = new FakeClient();
    const error = await rejection(new RedisStore(redis).create('KEY', recordOf(), call(50)));
    expect(error.message).to.equal('The Redis client is not connected: its status is "connecting"');
    redis.become('ready');
    sinon.assert.notCalled(redis.script);
  });

  it('takes back what the client did not send until the deadline', async () => {
    const redis = new FakeClient();
    redis.become('ready');
    redis.script = sinon.spy(
      (_args) =>
        new Promise((_, reject) =>
          redis.signals[0]?.addEventListener('abort', () => reject(new Error('The command was aborted'))),
        ),
    );
    const error = await rejection(new RedisStore(redis).create('KEY', recordOf(), call(50)));
    expect(error.message).to.equal('Redis: The command was aborted');
    expect(redis.script.firstCall.args[0], 'if it is sent all the same').to.deep.equal(['PING']);
  });

  it('fails at once where the client is closed, also during the call', async () => {
    const redis = new FakeClient();
    const store = new RedisStore(redis);
    const loading = rejection(store.load('KEY', call(60_000)));
    redis.become('end');
    expect((await loading).message).to.equal('The Redis client is closed');
    const error = await rejection(store.load('KEY', call(60_000)));
    expect(error.message).to.equal('The Redis client is closed');
  });

  it('says what to do where the client was never connected', async () => {
    for (const redis of [createClient5(), createClient6()]) {
      const error = await rejection(new RedisStore(redis).load('KEY', call(60_000)));
      expect(error.message).to.equal('The Redis client is not connected: call client.connect() first');
    }
  });

  it('says why it could not connect', async () => {
    const redis = new FakeClient();
    const loading = rejection(new RedisStore(redis).load('KEY', call(20)));
    redis.emit('error', new Error('connect ECONNREFUSED 127.0.0.1:6379'));
    const expected = 'The Redis client is not connected: connect ECONNREFUSED 127.0.0.1:6379';
    expect((await loading).message).to.equal(expected);
  });

  it('sends again, under the same idempotency key, what was lost with the connection', async () => {
    const redis = new FakeClient();
    redis.become('ready');
    const names: string[] = [];
    redis.script = sinon.spy(async (args) => {
      names.push(String(args[5]));
      if (names.length > 1) return '2';
      redis.become('away');
      throw new Error('Socket closed unexpectedly');
    });
    const updating = new RedisStore(redis).update('KEY', changesOf({ a: '1' }), call());
    setImmediate(() => redis.become('ready'));
    expect(await updating).to.deep.equal({ outcome: 'updated', revision: 2 });
    expect(names).to.have.length(2);
    expect(names[0]).to.equal(names[1]).and.to.have.length(8);
  });

  describeWith(['redis-server'], 'and a server', () => {
    let server: RedisServer;
    before(async () => {
      server = await startRedis();
    });
    after(() => server.stop());

    for (const [setup, make] of Object.entries({
      'version 5': (port: number) => createClient5({ socket: { port } }),
      'version 5 with RESP3': (port: number) => createClient5({ socket: { port }, RESP: 3 }),
      'version 5 without an offline queue': (port: number) =>
        createClient5({ socket: { port }, disableOfflineQueue: true }),
      'version 6': (port: number) => createClient6({ socket: { port } }),
      'version 6 with RESP2': (port: number) => createClient6({ socket: { port }, RESP: 2 }),
      'version 6 with Buffers': (port: number) =>
        createClient6({
          socket: { port },
          commandOptions: { typeMapping: { [RESP_TYPES.BLOB_STRING]: Buffer } },
        }),
    })) {
      it(`is the same: ${setup}`, async () => {
        const client = make(server.port).on('error', () => {});
        const store = new RedisStore(client);
        const connected = client.connect();
        const key = address();
        await store.create(key, recordOf({ a: '1', b: '2' }), call());
        await connected;
        await client.sendCommand(['SCRIPT', 'FLUSH']);
        await store.update(key, changesOf({ a: '2' }, { delete: ['b'] }), call());
        const conflict = changesOf({ a: '9' }, { expect: new Map([['a', '0']]) });
        expect(await store.update(key, conflict, call())).to.deep.equal({
          outcome: 'conflict',
          actual: new Map([['a', '2']]),
        });
        expect(contentOf(await store.destroy(key, call()))).to.deep.equal({ a: '2' });
        expect(await store.load(key, call())).to.equal(undefined);
        await client.sendCommand(['SET', `wppsess:${key}`, 'damaged']);
        expect(await store.load(key, call())).to.equal('corrupt');
        client.destroy();
        expect((await rejection(store.load(key, call()))).message).to.equal('The Redis client is closed');
      });
    }
  });

  // Its failover can hang where the machine is busy: `npm run soak`.
  (process.env.SOAK === '1' ? describe : describe.skip)('and a Cluster', function () {
    this.timeout(60_000);
    let cluster: RedisCluster;
    before(async () => {
      cluster = await startCluster();
    });
    after(() => cluster.stop());
    /** To be ended, also where a test failed. */
    const opened: Array<{ destroy(): void }> = [];
    afterEach(() => {
      for (const client of opened.splice(0)) client.destroy();
    });

    for (const [version, create] of Object.entries({
      'version 5': (rootNodes: Array<{ url: string }>) => createCluster5({ rootNodes }),
      'version 6': (rootNodes: Array<{ url: string }>) => createCluster6({ rootNodes }),
    })) {
      it(`keeps sessions on each master, before and after a failover that was ordered: ${version}`, async () => {
        const redis = create(cluster.nodes.map(({ url }) => ({ url }))).on('error', () => {});
        const store = new RedisStore(redis);
        const { message } = await rejection(store.load('KEY', call()));
        expect(message).to.equal('The Redis client is not connected: call client.connect() first');
        const connected = redis.connect();
        opened.push(redis);
        const keys = Array.from({ length: 60 }, address);
        await Promise.all(keys.map((key, i) => store.create(key, recordOf({ n: String(i) }), call())));
        await connected;
        const check = async (): Promise<void> => {
          const loaded = await Promise.all(keys.map((key) => store.load(key, call())));
          expect(loaded.map(contentOf)).to.deep.equal(keys.map((_, i) => ({ n: String(i) })));
        };
        await check();
        await store.index.add(address(), address(), Date.now() + HOUR, call());
        const scanned: string[] = [];
        for await (const batch of store.scan(() => call())) scanned.push(...batch);
        expect(scanned).to.include.members(keys); // on all masters

        const [moved] = redis.masters;
        const replica = createClient5({ url: await replicaOf(moved?.port ?? 0) });
        await replica.connect();
        opened.push(replica);
        await replica.sendCommand(['CLUSTER', 'FAILOVER']);
        await until('it took over', async () => String(await replica.sendCommand(['ROLE'])).startsWith('master'));
        await check();
      });
    }

    async function replicaOf(port: number): Promise<string> {
      const client = createClient5({ socket: { port } });
      await client.connect();
      const reply: unknown = await client.sendCommand(['ROLE']);
      const [, , replicas] = reply as [string, number, string[][]];
      client.destroy();
      return `redis://127.0.0.1:${replicas[0]?.[1]}`;
    }
  });
});
