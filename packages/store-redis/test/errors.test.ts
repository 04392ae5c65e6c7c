import { inspect } from 'node:util';
import { RedisStore } from '@koa-wsession/store-redis';
import { expect } from 'chai';
import { ReplyError } from 'ioredis';
import { call, changesOf, recordOf, rejection } from 'testkit/records';
import { clients, nodeClients, stubIoredis } from './support.js';

describe('What RedisStore makes of errors', () => {
  const ADDRESS = 'a'.repeat(43);
  const SECRET = 'a secret of the session';
  const { redis, evalsha, reset } = stubIoredis();
  const store = new RedisStore(redis);
  beforeEach(reset);

  /** As ioredis makes them: with all that was sent. */
  function fail(message: string): void {
    evalsha.callsFake((args) => {
      const error = Object.assign(new ReplyError(message), { command: { name: 'evalsha', args } });
      return Promise.reject(error);
    });
  }

  const calls: Record<string, () => Promise<unknown>> = {
    load: () => store.load(ADDRESS, call()),
    create: () => store.create(ADDRESS, recordOf({ a: SECRET }), call()),
    update: () => store.update(ADDRESS, changesOf({ a: SECRET }), call()),
    destroy: () => store.destroy(ADDRESS, call()),
    add: async () => store.index.add(ADDRESS, ADDRESS, 1, call()),
    remove: async () => store.index.remove(ADDRESS, ADDRESS, call()),
    keys: async () => store.index.keys(ADDRESS, call()),
  };

  for (const [name, make] of Object.entries(calls)) {
    it(`is an error without what was sent: ${name}`, async () => {
      fail("READONLY You can't write against a read only replica.");
      const error = await rejection(make());
      expect(error.message).to.equal("Redis: READONLY You can't write against a read only replica");
      const shown = inspect(error, { depth: 10, showHidden: true });
      expect(shown).not.to.contain(SECRET).and.not.to.contain(ADDRESS);
      expect(Reflect.ownKeys(error)).to.have.members(['stack', 'message']);
    });
  }

  for (const message of [
    "ERR unknown command 'evalsha', with args beginning with: 'sha' '1' 'a secret of the session' ",
    'ERR unknown command `evalsha`, with args beginning with: `a secret\nof the session`, `a secret of the session`, ',
  ]) {
    it(`is a message without arguments: ${message.slice(0, 25)}`, async () => {
      fail(message);
      const error = await rejection(store.update(ADDRESS, changesOf({ a: SECRET }), call()));
      expect(error.message).to.match(/^Redis: ERR unknown command .evalsha.$/);
    });
  }

  for (const message of ['OOM', 'LOADING', 'CLUSTERDOWN', 'MOVED', 'WRONGTYPE', 'NOAUTH', 'ERR'].map(
    (code) => `${code} for some reason`,
  )) {
    it(`is an error, never "not there": ${message}`, async () => {
      fail(message);
      for (const make of Object.values(calls)) {
        expect((await rejection(make())).message).to.equal(`Redis: ${message}`);
      }
    });
  }

  for (const [version, connect] of Object.entries({ ...clients, ...nodeClients })) {
    it(`says why Redis can't be reached: ${version}`, async () => {
      const client = connect(1);
      try {
        const error = await rejection(new RedisStore(client).load(ADDRESS, call(500)));
        expect(error.message).to.match(/^The Redis client is not connected: connect ECONNREFUSED \S+:1$/);
      } finally {
        if ('isOpen' in client) client.destroy();
        else client.disconnect();
      }
    });
  }

  it('is an error, too, where a client throws, or rejects with anything else', async () => {
    evalsha.throws(new Error('thrown'));
    expect((await rejection(store.load(ADDRESS, call()))).message).to.equal('Redis: thrown');
    evalsha.returns(Promise.reject(SECRET));
    expect((await rejection(store.load(ADDRESS, call()))).message).to.equal(
      'Redis: the client threw a non-Error value',
    );
  });

  const record = ['c', '1', 'u', '1', 'e', '2', 'r', '1', ':a', '1'];
  const odd: Record<string, unknown[]> = {
    load: [record.slice(0, 5), [...record, ':b', null], [['created']], '["c"', '{"c":1}', '["c",1]'],
    create: ['updated', [null]],
    update: ['created', 'updated', '-1', ['conflict', '1'], ['conflict', 7], '["conflict","1"]'],
    destroy: [record.slice(2), [...record, ':b', 7], ['none'], ['type', 'zset'], ['b', 'key'], '["destroyed"]'],
    add: ['removed'],
    remove: ['added'],
    keys: [[null], '["a",null]'],
  };
  const never = [undefined, 'OK', 7, true, {}, [7], [['created']], new Map()];

  const isOfStrings = (reply: unknown): boolean =>
    Array.isArray(reply) && reply.every((one) => typeof one === 'string');

  for (const [name, make] of Object.entries(calls)) {
    const replies = odd[name] ?? [];
    it(`is an error where the reply is none of ours: ${name}`, async () => {
      // Any list of strings is one of addresses.
      for (const reply of [...(name === 'keys' ? never.filter((one) => !isOfStrings(one)) : never), ...replies]) {
        evalsha.resolves(reply);
        const error = await rejection(make());
        expect(error.message, inspect(reply)).to.equal("Redis: the reply isn't one of this store's scripts");
      }
    });
  }
});
