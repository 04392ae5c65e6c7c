import { createHash } from 'node:crypto';
import { RedisStore } from '@koa-wsession/store-redis';
import { expect } from 'chai';
import { ReplyError } from 'ioredis';
import { createSandbox, type SinonFakeTimers } from 'sinon';
import { call, changesOf, HOUR, recordOf, rejection } from 'testkit/records';
import { stubIoredis } from './support.js';

/** Our own: other tests restore the default one. */
const sinon = createSandbox();

describe('The commands of RedisStore', () => {
  const { redis, evalsha, eval: evaluate, info, reset } = stubIoredis();
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

  const noScript = () => new ReplyError('NOSCRIPT No matching script. Please use EVAL.');

  it('are one EVALSHA of one key a call', async () => {
    evalsha.onCall(0).resolves(null);
    evalsha.onCall(1).resolves(['created']);
    evalsha.onCall(2).resolves(['updated', '2']);
    evalsha.onCall(3).resolves(['none']);
    await store.load('KEY', call());
    await store.create('KEY', recordOf({ a: '1' }), call());
    await store.update('KEY', changesOf({ a: '2' }), call());
    await store.destroy('KEY', call());
    sinon.assert.callCount(evalsha, 4);
    sinon.assert.notCalled(evaluate);
    for (const [[sha, count, key]] of evalsha.args) {
      expect(sha).to.match(/^[0-9a-f]{40}$/);
      expect([count, key]).to.deep.equal([1, 'wppsess:KEY']);
    }
  });

  it('include one INFO, after the first call, for the maxmemory-policy', async () => {
    evalsha.resolves(null);
    for (let i = 0; i < 3; i++) await store.load('KEY', call());
    await new Promise((resolve) => setImmediate(resolve));
    expect(info.args).to.deep.equal([[['memory']]]);
  });

  it('are sent in the tick of the call', () => {
    evalsha.resolves(null);
    void store.load('KEY', call());
    sinon.assert.calledOnce(evalsha);
  });

  it('are EVAL with the same arguments where Redis does not know the script', async () => {
    evalsha.rejects(noScript());
    evaluate.resolves(['created']);
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
    const keyOf = (index = 0): Buffer => evalsha.getCall(index).args[0][4] as Buffer;
    const writes: Record<string, (timeout?: number) => Promise<unknown>> = {
      create: (timeout) => store.create('KEY', recordOf(), call(timeout)),
      update: (timeout) => store.update('KEY', changesOf({ a: '1' }), call(timeout)),
      destroy: (timeout) => store.destroy('KEY', call(timeout)),
      'index.add': async (timeout) => store.index.add('GROUP', 'KEY', Date.now() + HOUR, call(timeout)),
      'index.remove': async (timeout) => store.index.remove('GROUP', 'KEY', call(timeout)),
    };
    const write = (timeout?: number) => store.update('KEY', changesOf({ a: '1' }), call(timeout));
    const isWiped = (key: Buffer): boolean => key.equals(Buffer.alloc(6));

    it('of its own', async () => {
      const keys = new Set<string>();
      evalsha.callsFake(([, , , , key]) => {
        keys.add((key as Buffer).toString('hex'));
        return Promise.resolve(['updated', '2']);
      });
      for (let i = 0; i < 1000; i++) await write();
      expect(keys).to.have.property('size', 1000);
      for (const key of keys) expect(key).to.have.length(12);
    });

    it('which is the same in EVAL', async () => {
      const keys: string[] = [];
      evalsha.callsFake(([, , , , key]) => {
        keys.push((key as Buffer).toString('hex'));
        return Promise.reject(noScript());
      });
      evaluate.callsFake(([, , , , key]) => {
        keys.push((key as Buffer).toString('hex'));
        return Promise.resolve(['updated', '2']);
      });
      await write();
      expect(keys[0]).to.equal(keys[1]).and.to.have.length(12);
    });

    for (const [name, write] of Object.entries(writes)) {
      it(`which is wiped at the deadline, and not before: ${name}`, async () => {
        const clock = freeze();
        evalsha.returns(new Promise(() => {}));
        void write(50);
        clock.tick(49);
        expect(isWiped(keyOf())).to.equal(false);
        clock.tick(2);
        expect(isWiped(keyOf())).to.equal(true);
      });
    }

    it('which is wiped when the call fails, for what the client may still send', async () => {
      evalsha.rejects(new Error('Command timed out'));
      await rejection(write());
      expect(isWiped(keyOf())).to.equal(true);
    });

    it('whose timer ends with it', async () => {
      const clock = freeze();
      evalsha.resolves(['updated', '2']);
      await write();
      expect(clock.countTimers()).to.equal(0);
    });

    it('which stays, where the deadline is further away than a timer can be', () => {
      const clock = freeze();
      evalsha.returns(new Promise(() => {}));
      void write(Number.POSITIVE_INFINITY);
      clock.tick(1000);
      expect(isWiped(keyOf())).to.equal(false);
    });
  });
});
