import { EventEmitter } from 'node:events';
import { type IoredisLike, RedisStore } from '@koa-wsession/store-redis';
import { expect } from 'chai';
import { type Command, Redis } from 'ioredis';
import sinon from 'sinon';
import { call, changesOf, rejection } from 'testkit/records';

/** A client in nothing but its status, which it changes as ioredis does: the event comes a tick later. */
class FakeClient extends EventEmitter implements IoredisLike {
  status: string;
  readonly options = {};
  connect = sinon.spy(async () => this.become('connecting'));
  evalsha = sinon.spy(async () => null);

  constructor(status: string) {
    super();
    this.status = status;
  }

  createBuiltinCommand = Redis.prototype.createBuiltinCommand;

  sendCommand(command: Command) {
    return command.name === 'evalsha' ? this.evalsha() : Promise.resolve('');
  }

  become(status: string): void {
    this.status = status;
    process.nextTick(() => this.emit(status));
  }
}

describe('While the client is not ready, RedisStore', () => {
  const AWAY = ['connecting', 'connect', 'reconnecting', 'close', 'disconnecting', 'monitoring'];
  const settled = () => new Promise((resolve) => setImmediate(resolve));

  for (const status of AWAY) {
    it(`waits until it is, and sends then: ${status}`, async () => {
      const redis = new FakeClient(status);
      const loading = new RedisStore(redis).load('KEY', call());
      await settled();
      sinon.assert.notCalled(redis.evalsha);
      redis.become('ready');
      expect(await loading).to.equal(undefined);
      sinon.assert.calledOnce(redis.evalsha);
    });

    it(`waits no longer than to the deadline, and never sends then: ${status}`, async () => {
      const redis = new FakeClient(status);
      const began = performance.now();
      const error = await rejection(new RedisStore(redis).update('KEY', changesOf({ a: '1' }), call(50)));
      expect(error.message).to.equal(`The Redis client is not connected: its status is "${status}"`);
      expect(performance.now() - began).to.be.at.least(48);
      redis.become('ready');
      await settled();
      sinon.assert.notCalled(redis.evalsha);
    });
  }

  it('connects a lazy client, once for all calls, and waits like for any other', async () => {
    const redis = new FakeClient('wait');
    const store = new RedisStore(redis);
    const loading = Promise.all([store.load('A', call()), store.load('B', call())]);
    await settled();
    sinon.assert.calledOnce(redis.connect);
    sinon.assert.notCalled(redis.evalsha);
    redis.become('ready');
    await loading;
    sinon.assert.calledTwice(redis.evalsha);
  });

  it('leaves it to the client to report that it could not connect', async () => {
    const unhandled = sinon.spy();
    process.on('unhandledRejection', unhandled);
    try {
      const redis = Object.assign(new FakeClient('wait'), {
        connect(): Promise<void> {
          Object.assign(redis, { status: 'reconnecting' });
          return Promise.reject(new Error('Connection is closed.'));
        },
      });
      const error = await rejection(new RedisStore(redis).load('KEY', call(20)));
      expect(error.message).to.match(/^The Redis client is not connected: /);
      sinon.assert.notCalled(unhandled);
    } finally {
      process.off('unhandledRejection', unhandled);
    }
  });

  for (const [what, problem] of Object.entries({
    'an error': new Error('connect ECONNREFUSED 127.0.0.1:6379'),
    'one for each address of a host': new AggregateError([new Error('connect ECONNREFUSED 127.0.0.1:6379')]),
    "one of a Cluster's servers": Object.assign(new Error('Failed to refresh slots cache.'), {
      lastNodeError: new Error('connect ECONNREFUSED 127.0.0.1:6379'),
    }),
  })) {
    it(`says why it could not connect: ${what}`, async () => {
      const redis = new FakeClient('reconnecting');
      const loading = rejection(new RedisStore(redis).load('KEY', call(20)));
      redis.emit('error', problem);
      const expected = 'The Redis client is not connected: connect ECONNREFUSED 127.0.0.1:6379';
      expect((await loading).message).to.equal(expected);
      const next = await rejection(new RedisStore(redis).load('KEY', call(20)));
      expect(next.message).to.equal('The Redis client is not connected: its status is "reconnecting"');
    });
  }

  it('says it before the caller stops waiting', async () => {
    const clock = sinon.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
    try {
      const store = new RedisStore(new FakeClient('reconnecting'));
      for (const timeout of [20, 20.5, 21]) {
        const first = Promise.race([
          new Promise((resolve) => setTimeout(resolve, timeout, 'the caller')),
          rejection(store.load('KEY', call(timeout))).then(() => 'the store'),
        ]);
        await clock.tickAsync(timeout);
        expect(await first).to.equal('the store');
      }
    } finally {
      clock.restore();
    }
  });

  it('forgets why once it was connected', async () => {
    const redis = new FakeClient('reconnecting');
    const store = new RedisStore(redis);
    const loading = store.load('KEY', call());
    redis.emit('error', new Error('connect ECONNREFUSED 127.0.0.1:6379'));
    redis.become('ready');
    await loading;
    redis.become('close');
    const error = await rejection(store.load('KEY', call(20)));
    expect(error.message).to.equal('The Redis client is not connected: its status is "close"');
  });

  it('sends again what the client gave up on when the connection was lost', async () => {
    const redis = new FakeClient('ready');
    const evalsha = sinon.stub<[], Promise<null>>();
    evalsha.onFirstCall().callsFake(async () => {
      redis.become('reconnecting');
      throw new Error('Reached the max retries per request limit (which is 0).');
    });
    evalsha.onSecondCall().resolves(null);
    redis.evalsha = evalsha as never;
    const loading = new RedisStore(redis).load('KEY', call());
    await settled();
    redis.become('ready');
    expect(await loading).to.equal(undefined);
    sinon.assert.calledTwice(evalsha);
  });

  it('fails at once where the client is closed', async () => {
    const redis = new FakeClient('end');
    const error = await rejection(new RedisStore(redis).load('KEY', call()));
    expect(error.message).to.equal('The Redis client is closed');
    sinon.assert.notCalled(redis.evalsha);
  });

  it('fails at once when the client is closed meanwhile', async () => {
    const redis = new FakeClient('reconnecting');
    const loading = rejection(new RedisStore(redis).load('KEY', call(60_000)));
    await settled();
    redis.become('end');
    expect((await loading).message).to.equal('The Redis client is closed');
  });

  it('works again when the client was connected again', async () => {
    const redis = new FakeClient('end');
    const store = new RedisStore(redis);
    await rejection(store.load('KEY', call()));
    redis.become('ready');
    await store.load('KEY', call());
    sinon.assert.calledOnce(redis.evalsha);
  });

  it('goes on waiting when the connection is lost again in the same tick', async () => {
    const redis = new FakeClient('connecting');
    const loading = new RedisStore(redis).load('KEY', call());
    redis.become('ready');
    redis.become('close');
    await settled();
    sinon.assert.notCalled(redis.evalsha);
    redis.become('ready');
    await loading;
    sinon.assert.calledOnce(redis.evalsha);
  });

  it('has one listener for a thousand calls, and none afterwards', async () => {
    const redis = new FakeClient('reconnecting');
    const warnings: string[] = [];
    const note = ({ name }: Error): number => warnings.push(name);
    process.on('warning', note);
    try {
      const store = new RedisStore(redis);
      const loading = Promise.all(Array.from({ length: 1000 }, () => store.load('KEY', call())));
      const late = Promise.all(Array.from({ length: 20 }, () => rejection(store.load('KEY', call(10)))));
      expect(redis.listenerCount('ready')).to.equal(1);
      expect(redis.listenerCount('end')).to.equal(1);
      await late;
      expect(redis.listenerCount('ready')).to.equal(1);
      redis.become('ready');
      await loading;
      expect(redis.eventNames()).to.deep.equal([]);
      sinon.assert.callCount(redis.evalsha, 1000);
      await settled();
      expect(warnings).to.not.include('MaxListenersExceededWarning');
    } finally {
      process.off('warning', note);
    }
  });

  it('has no listener left when all gave up', async () => {
    const redis = new FakeClient('reconnecting');
    await rejection(new RedisStore(redis).load('KEY', call(10)));
    expect(redis.eventNames()).to.deep.equal([]);
  });
});
