import { EventEmitter } from 'node:events';
import { type IoredisLike, RedisStore } from '@koa-wsession/store-redis';
import { expect } from 'chai';
import sinon from 'sinon';
import { call, changesOf, rejection } from './support.js';

/** A client in nothing but its status, which it changes as ioredis does: the event comes a tick later. */
class FakeClient extends EventEmitter implements IoredisLike {
  status: string;
  connect = sinon.spy(async () => this.become('connecting'));
  evalsha = sinon.spy(async () => null);
  eval = sinon.spy(async () => null);

  constructor(status: string) {
    super();
    this.status = status;
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
      expect(error.message).to.equal(`Redis: no answer in time (the client is "${status}")`);
      expect(performance.now() - began).to.be.within(49, 500);
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
      const redis: IoredisLike = Object.assign(new FakeClient('wait'), {
        connect(): Promise<void> {
          Object.assign(redis, { status: 'reconnecting' });
          return Promise.reject(new Error('ECONNREFUSED'));
        },
      });
      const error = await rejection(new RedisStore(redis).load('KEY', call(20)));
      expect(error.message).to.contain('no answer in time');
      sinon.assert.notCalled(unhandled);
    } finally {
      process.off('unhandledRejection', unhandled);
    }
  });

  it('fails at once where the client is closed', async () => {
    const redis = new FakeClient('end');
    const error = await rejection(new RedisStore(redis).load('KEY', call()));
    expect(error.message).to.equal('Redis: the client is closed');
    sinon.assert.notCalled(redis.evalsha);
  });

  it('fails at once when the client is closed meanwhile', async () => {
    const redis = new FakeClient('reconnecting');
    const loading = rejection(new RedisStore(redis).load('KEY', call(60_000)));
    await settled();
    redis.become('end');
    expect((await loading).message).to.equal('Redis: the client is closed');
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
    const warnings = sinon.spy();
    process.on('warning', warnings);
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
      sinon.assert.notCalled(warnings);
    } finally {
      process.off('warning', warnings);
    }
  });

  it('has no listener left when all gave up', async () => {
    const redis = new FakeClient('reconnecting');
    await rejection(new RedisStore(redis).load('KEY', call(10)));
    expect(redis.eventNames()).to.deep.equal([]);
  });
});
