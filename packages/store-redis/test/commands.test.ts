import { createHash } from 'node:crypto';
import { RedisStore } from '@koa-wsession/store-redis';
import { expect } from 'chai';
import { Redis, ReplyError } from 'ioredis';
import { createSandbox } from 'sinon';
import { call, changesOf, recordOf, rejection } from './support.js';

/** Our own: other tests restore the default one. */
const sinon = createSandbox();

describe('What RedisStore sends', () => {
  const redis = sinon.createStubInstance(Redis);
  const store = new RedisStore(redis);
  beforeEach(() => {
    redis.evalsha.reset();
    redis.eval.reset();
  });
  let clock: sinon.SinonFakeTimers | undefined;
  afterEach(() => clock?.restore());
  const freeze = (): sinon.SinonFakeTimers => {
    clock = sinon.useFakeTimers({ toFake: ['performance', 'setTimeout', 'clearTimeout'] });
    return clock;
  };

  const noScript = () => new ReplyError('NOSCRIPT No matching script. Please use EVAL.');

  it('is one EVALSHA of one key a call', async () => {
    redis.evalsha.onCall(0).resolves(null);
    redis.evalsha.onCall(1).resolves(['created']);
    redis.evalsha.onCall(2).resolves(['updated']);
    redis.evalsha.onCall(3).resolves(null);
    await store.load('KEY', call());
    await store.create('KEY', recordOf({ a: '1' }), call());
    await store.update('KEY', changesOf({ a: '2' }), call());
    await store.destroy('KEY', call());
    sinon.assert.callCount(redis.evalsha, 4);
    sinon.assert.notCalled(redis.eval);
    for (const { args } of redis.evalsha.getCalls()) {
      expect(args[0]).to.match(/^[0-9a-f]{40}$/);
      expect(args.slice(1, 3)).to.deep.equal([1, 'wppsess:KEY']);
    }
  });

  it('goes out in the tick of the call', () => {
    redis.evalsha.resolves(null);
    void store.load('KEY', call());
    sinon.assert.calledOnce(redis.evalsha);
  });

  it('is EVAL with the same arguments where Redis does not know the script', async () => {
    redis.evalsha.rejects(noScript());
    redis.eval.resolves(null);
    await store.load('KEY', call());
    sinon.assert.calledOnce(redis.evalsha);
    sinon.assert.calledOnce(redis.eval);
    const [sha, ...args] = redis.evalsha.firstCall.args;
    const [source, ...same] = redis.eval.firstCall.args;
    expect(same).to.deep.equal(args);
    expect(createHash('sha1').update(String(source)).digest('hex')).to.equal(sha);
  });

  it('is EVAL only then', async () => {
    redis.evalsha.rejects(new ReplyError('OOM command not allowed'));
    await rejection(store.load('KEY', call()));
    sinon.assert.notCalled(redis.eval);
  });

  it('is nothing once the deadline has passed', async () => {
    const error = await rejection(store.load('KEY', call(-1)));
    expect(error.message).to.match(/^Redis: no answer in time/);
    sinon.assert.notCalled(redis.evalsha);
  });

  it('is no EVAL once the deadline has passed', async () => {
    const clock = freeze();
    redis.evalsha.callsFake(() => {
      clock.tick(60);
      return Promise.reject(noScript());
    });
    await rejection(store.update('KEY', changesOf({ a: '1' }), call(50)));
    sinon.assert.notCalled(redis.eval);
  });

  describe('with an update', () => {
    const nameOf = (index = 0): Buffer => redis.evalsha.getCall(index).args[5] as Buffer;

    it('is a name of its own', async () => {
      const names: string[] = [];
      redis.evalsha.callsFake((...args) => {
        names.push(String(args[5]));
        return Promise.resolve(['updated']);
      });
      for (let i = 0; i < 1000; i++) await store.update('KEY', changesOf({ a: '1' }), call());
      for (const name of names) expect(name).to.match(/^[\w-]{8}$/);
      expect(new Set(names)).to.have.property('size', 1000);
    });

    it('is the same name in EVAL', async () => {
      const names: string[] = [];
      redis.evalsha.callsFake((...args) => {
        names.push(String(args[5]));
        return Promise.reject(noScript());
      });
      redis.eval.callsFake((...args) => {
        names.push(String(args[5]));
        return Promise.resolve(['updated']);
      });
      await store.update('KEY', changesOf({ a: '1' }), call());
      expect(names[0]).to.equal(names[1]);
    });

    it('is a name that is wiped at the deadline, and not before', async () => {
      const clock = freeze();
      redis.evalsha.returns(new Promise(() => {}));
      void store.update('KEY', changesOf({ a: '1' }), call(50));
      clock.tick(49);
      expect(String(nameOf())).to.match(/^[\w-]{8}$/);
      clock.tick(2);
      expect([...nameOf()]).to.deep.equal(Array(8).fill(0));
    });

    it('is a name that is wiped when the call fails, for what the client may still send', async () => {
      redis.evalsha.rejects(new Error('Command timed out'));
      await rejection(store.update('KEY', changesOf({ a: '1' }), call()));
      expect([...nameOf()]).to.deep.equal(Array(8).fill(0));
    });

    it('is no timer that outlives it', async () => {
      const clock = freeze();
      redis.evalsha.resolves(['updated']);
      await store.update('KEY', changesOf({ a: '1' }), call());
      expect(clock.countTimers()).to.equal(0);
    });

    it('is a name that stays, where the deadline is further away than a timer can be', () => {
      const clock = freeze();
      redis.evalsha.returns(new Promise(() => {}));
      void store.update('KEY', changesOf({ a: '1' }), call(Number.POSITIVE_INFINITY));
      clock.tick(1000);
      expect(String(nameOf())).to.match(/^[\w-]{8}$/);
    });
  });
});
