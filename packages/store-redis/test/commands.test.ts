import { AsyncLocalStorage } from 'node:async_hooks';
import { createHash } from 'node:crypto';
import { PassThrough, Writable } from 'node:stream';
import { RedisStore } from '@koa-wsession/store-redis';
import { expect } from 'chai';
import { ReplyError } from 'ioredis';
import { createSandbox, type SinonFakeTimers } from 'sinon';
import { call, changesOf, HOUR, recordOf, rejection } from 'testkit/records';
import { stubIoredis } from './support.js';

/** Our own: other tests restore the default one. */
const sinon = createSandbox();

describe('The commands of RedisStore', () => {
  const { redis, evalsha, eval: evaluate, info, sent, reset } = stubIoredis();
  let store: RedisStore;
  beforeEach(() => {
    reset();
    store = new RedisStore(redis);
  });
  let clock: SinonFakeTimers | undefined;
  afterEach(() => clock?.restore());
  const freeze = (): SinonFakeTimers => {
    clock = sinon.useFakeTimers({ toFake: ['performance', 'setTimeout', 'clearTimeout'] });
    return clock;
  };

  const endOfTurn = () => new Promise((resolve) => setImmediate(resolve));
  const noScript = () => new ReplyError('NOSCRIPT No matching script. Please use EVAL.');

  it('are one EVALSHA of one key a call', async () => {
    evalsha.onCall(0).resolves(null);
    evalsha.onCall(1).resolves('created');
    evalsha.onCall(2).resolves('2');
    evalsha.onCall(3).resolves(null);
    await store.load('KEY', call());
    await store.create('KEY', recordOf({ a: '1' }), call());
    await store.update('KEY', changesOf({ a: '2' }), call());
    await store.destroy('KEY', call());
    sinon.assert.callCount(evalsha, 4);
    sinon.assert.notCalled(evaluate);
    for (const [[sha, count, key]] of evalsha.args) {
      expect(sha).to.match(/^[0-9a-f]{40}$/);
      expect([count, key]).to.deep.equal(['1', 'wppsess:KEY']);
    }
  });

  it('include one INFO, after the first call, for the maxmemory-policy', async () => {
    evalsha.resolves(null);
    for (let i = 0; i < 3; i++) await store.load('KEY', call());
    await new Promise((resolve) => setImmediate(resolve));
    expect(info.args).to.deep.equal([[['memory']]]);
  });

  it('are sent at the end of the turn of the event loop', async () => {
    evalsha.resolves(null);
    void store.load('KEY', call());
    await undefined;
    sinon.assert.notCalled(evalsha);
    await endOfTurn();
    sinon.assert.calledOnce(evalsha);
  });

  it('are sent in the asynchronous context of their call, as tracing needs it', async () => {
    const requests = new AsyncLocalStorage<string>();
    const seen: unknown[] = [];
    evalsha.callsFake(async () => {
      seen.push(requests.getStore());
      return null;
    });
    await Promise.all(['a', 'b'].map((request) => requests.run(request, () => store.load('KEY', call()))));
    expect(seen).to.deep.equal(['a', 'b']);
  });

  it('are EVAL with the same arguments where Redis does not know the script', async () => {
    evalsha.rejects(noScript());
    evaluate.resolves('created');
    await store.create('KEY', recordOf({ a: '1' }), call());
    sinon.assert.calledOnce(evalsha);
    sinon.assert.calledOnce(evaluate);
    const [[sha, ...args]] = evalsha.firstCall.args;
    const [[source, ...same]] = evaluate.firstCall.args;
    expect(same).to.deep.equal(args);
    expect(createHash('sha1').update(String(source)).digest('hex')).to.equal(sha);
  });

  it('are EVAL only then', async () => {
    evalsha.rejects(new ReplyError('OOM command not allowed'));
    await rejection(store.load('KEY', call()));
    sinon.assert.notCalled(evaluate);
  });

  it('are EVAL once', async () => {
    evalsha.rejects(noScript());
    evaluate.rejects(noScript());
    expect((await rejection(store.load('KEY', call(500)))).message).to.match(/^Redis: NOSCRIPT/);
    sinon.assert.calledOnce(evaluate);
  });

  it('are not sent once the deadline has passed', async () => {
    const error = await rejection(store.load('KEY', call(-1)));
    expect(error.message).to.equal('The time was up before Redis was asked');
    sinon.assert.notCalled(evalsha);
  });

  it('are no EVAL once the deadline has passed', async () => {
    const clock = freeze();
    evalsha.callsFake(() => {
      clock.tick(60);
      return Promise.reject(noScript());
    });
    await rejection(store.update('KEY', changesOf({ a: '1' }), call(50)));
    sinon.assert.notCalled(evaluate);
  });

  describe('of a write have an idempotency key', () => {
    const write = () => store.update('KEY', changesOf({ a: '1' }), call());

    it('of its own', async () => {
      const keys = new Set<unknown>();
      evalsha.callsFake(async ([, , , , key]) => {
        keys.add(key);
        return '2';
      });
      for (let i = 0; i < 1000; i++) await write();
      expect(keys).to.have.property('size', 1000);
      for (const key of keys) expect(key).to.match(/^[\w-]{8}$/);
    });

    it('which is the same in EVAL', async () => {
      const keys: unknown[] = [];
      evalsha.callsFake(([, , , , key]) => {
        keys.push(key);
        return Promise.reject(noScript());
      });
      evaluate.callsFake(async ([, , , , key]) => {
        keys.push(key);
        return '2';
      });
      await write();
      expect(keys[0]).to.equal(keys[1]).and.to.have.length(8);
    });
  });

  describe('that the client sends again are a PING', () => {
    const calls: Record<string, (timeout?: number) => Promise<unknown>> = {
      load: (timeout) => store.load('KEY', call(timeout)),
      create: (timeout) => store.create('KEY', recordOf(), call(timeout)),
      update: (timeout) => store.update('KEY', changesOf({ a: '1' }), call(timeout)),
      destroy: (timeout) => store.destroy('KEY', call(timeout)),
      'index.add': async (timeout) => store.index.add('GROUP', 'KEY', Date.now() + HOUR, call(timeout)),
      'index.remove': async (timeout) => store.index.remove('GROUP', 'KEY', call(timeout)),
    };
    const isPing = (): boolean => {
      sent[0]?.promise.catch(() => {}); // of a command past its limit
      return sent[0]?.toWritable(new PassThrough()) === '*1\r\n$4\r\nPING\r\n';
    };

    for (const [name, make] of Object.entries(calls)) {
      it(`from the deadline on, and not before, without a timer: ${name}`, async () => {
        const clock = freeze();
        evalsha.returns(new Promise(() => {}));
        void make(50);
        await endOfTurn();
        expect(clock.countTimers()).to.equal(0);
        clock.tick(49);
        expect(isPing()).to.equal(false);
        clock.tick(2);
        expect(isPing()).to.equal(true);
        expect((await rejection(sent[0]?.promise)).message).to.match(/^TIMEOUT command abandoned/);
      });
    }

    it('once the call has failed', async () => {
      evalsha.rejects(new Error('Command timed out'));
      await rejection(store.update('KEY', changesOf({ a: '1' }), call()));
      expect(isPing()).to.equal(true);
    });

    it('never, where the deadline is further away than a timer can be', async () => {
      const clock = freeze();
      evalsha.returns(new Promise(() => {}));
      void store.update('KEY', changesOf({ a: '1' }), call(Number.POSITIVE_INFINITY));
      await endOfTurn();
      clock.tick(1000);
      expect(isPing()).to.equal(false);
    });
  });

  it('leave together with the others of the same turn of the event loop, in one write, and hold back no other', async () => {
    const writes: number[] = [];
    const socket = new Writable({ writev: (chunks, done) => done(void writes.push(chunks.length)) });
    evalsha.resolves(null);
    await store.load('KEY', call());
    await endOfTurn(); // of INFO
    redis.sendCommand.callsFake((command) => {
      socket.write(command.toWritable(socket));
      return Promise.resolve(null);
    });
    for (let turn = 1; turn <= 2; turn++) {
      for (let i = 0; i < 3; i++) void store.load('KEY', call());
      await endOfTurn();
      expect(writes).to.deep.equal(Array(turn).fill(3));
      expect(socket.writableCorked).to.equal(0);
    }
  });
});
