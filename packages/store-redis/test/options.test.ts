import { RedisStore } from '@koa-wsession/store-redis';
import { expect } from 'chai';
import { Redis } from 'ioredis';
import { Redis as Redis5 } from 'ioredis5';
import { createSandbox } from 'sinon';
import { rejection } from 'testkit/records';
import { stubIoredis } from './support.js';

/** Our own: other tests restore the default one. */
const sinon = createSandbox();

describe('new RedisStore(redis, options)', () => {
  const redis = sinon.createStubInstance(Redis);

  it('has its defaults', () => {
    const store = new RedisStore(redis);
    expect(store).to.include({ expire: 3600, secure: false, domain: undefined });
    expect(store.capabilities).to.deep.equal({ seals: false, merges: true, revokes: true });
  });

  it('takes expire, secure and domain', () => {
    const options = { expire: 60, secure: true, domain: 'example.com' };
    expect(new RedisStore(redis, options)).to.include(options);
  });

  it('puts the prefix before each key', async () => {
    const { redis: stub, evalsha } = stubIoredis();
    evalsha.resolves(null);
    for (const [prefix, key] of [
      [undefined, 'wppsess:KEY'],
      ['shop:', 'shop:KEY'],
      ['', 'KEY'],
      ['{sess}ä😀:', '{sess}ä😀:KEY'],
    ] as const) {
      const store = new RedisStore(stub, prefix === undefined ? {} : { prefix });
      await store.load('KEY', { name: 'wsession', deadline: Number.POSITIVE_INFINITY });
      expect(evalsha.lastCall.args[0].slice(1, 3)).to.deep.equal(['1', key]);
    }
  });

  for (const [problem, options] of Object.entries({
    'an unknown option': { expires: 60 },
    'an expire that is no duration': { expire: 0 },
    'an expire that is a string': { expire: '3600' },
    'a secure that is no boolean': { secure: 1 },
    'a domain that is none': { domain: 'a;b' },
    'a prefix that is no string': { prefix: 7 },
    'a prefix that is null': { prefix: null },
    'a prefix with a NUL': { prefix: 'a\0b' },
    'a prefix with a lone surrogate': { prefix: '\ud800' },
    'no object': 'wppsess:',
  })) {
    it(`refuses ${problem}`, () => {
      expect(() => new RedisStore(redis, options as object))
        .to.throw(TypeError)
        .with.property('code', 'WSESSION_OPTION');
    });
  }

  const methods = (names: string[]) => Object.fromEntries(names.map((name) => [name, () => {}]));
  /** redis@4 with `legacyMode: true`: what redis@3 had, and what version 4 has. */
  class Commander {
    constructor() {
      const names = ['connect', 'on', 'off', 'evalsha', 'eval', 'evalSha', 'sendCommand', 'v4'];
      Object.assign(this, methods(names), { isOpen: true });
    }
  }
  /** ioredis-mock, whose Lua gives other replies. */
  class RedisMock {
    status = 'ready';
    constructor() {
      Object.assign(this, methods(['connect', 'on', 'off', 'evalsha', 'eval', 'call', 'defineCommand']));
    }
  }
  for (const [got, client] of [
    ['undefined', undefined],
    ['null', null],
    ['"redis://localhost:6379"', 'redis://localhost:6379'],
    ['a function', Redis],
    ['an object (Object)', {}],
    ['an object (Commander)', new Commander()],
    ['an object (RedisMock)', new RedisMock()],
    ['an object (Pipeline)', new Redis({ lazyConnect: true }).pipeline()],
  ] as const) {
    it(`refuses ${got} in place of a client, and says what to use`, () => {
      const { message, code } = thrownBy(() => new RedisStore(client as never));
      expect(message).to.match(
        /^Invalid option redis: expected a client of ioredis 5 or 6 .* or of node-redis 5 or 6 /,
      );
      expect(message).to.contain('for tests without Redis, use MemoryStore').and.to.contain(`got ${got}`);
      expect(code).to.equal('WSESSION_OPTION');
    });
  }

  it('takes each kind of client of both versions', () => {
    const lazyConnect = true;
    const all = [
      new Redis({ lazyConnect }),
      new Redis5({ lazyConnect }),
      new Redis({ lazyConnect, name: 'm', sentinels: [{ host: '127.0.0.1' }] }),
      new Redis5({ lazyConnect, name: 'm', sentinels: [{ host: '127.0.0.1' }] }),
      new Redis.Cluster(['127.0.0.1'], { lazyConnect }),
      new Redis5.Cluster(['127.0.0.1'], { lazyConnect }),
    ];
    for (const client of all) new RedisStore(client).close();
    expect(all.map(({ status }) => status)).to.deep.equal(all.map(() => 'wait'));
  });

  it('leaves the client alone in close(), which may be called twice', async () => {
    const { redis: stub, evalsha } = stubIoredis();
    evalsha.rejects(new Error('still in use'));
    const store = new RedisStore(stub);
    store.close();
    store.close();
    sinon.assert.notCalled(stub.quit);
    sinon.assert.notCalled(stub.disconnect);
    const error = await rejection(store.load('KEY', { name: 'wsession', deadline: Number.POSITIVE_INFINITY }));
    expect(error.message).to.contain('still in use');
  });
});

function thrownBy(act: () => unknown): Error & { code?: unknown } {
  try {
    act();
  } catch (error) {
    return error as Error;
  }
  throw new Error('It was expected to throw.');
}
