import { RedisStore } from '@koa-wsession/store-redis';
import { expect } from 'chai';
import { Redis } from 'ioredis';
import { describeWith } from 'testkit/programs';
import { address, call } from 'testkit/records';
import { type RedisServer, startRedis } from 'testkit/redis';
import { clients, nodeClients } from './support.js';

describeWith(['redis-server'], 'The maxmemory-policy of Redis', () => {
  let server: RedisServer;
  let admin: Redis;
  const warnings: Array<Error & { code?: string }> = [];
  const note = (warning: Error & { code?: string }): unknown =>
    warning.code === 'WSESSION_EVICTION' && warnings.push(warning);
  before(async () => {
    server = await startRedis();
    admin = new Redis(server.port);
    process.on('warning', note);
  });
  after(async () => {
    process.off('warning', note);
    admin.disconnect();
    await server.stop();
  });
  beforeEach(() => warnings.splice(0));

  /** Two calls of a store with a client of its own, and what they warned of. */
  async function warningsUnder(policy: string, version: keyof typeof clients | keyof typeof nodeClients) {
    await admin.config('SET', 'maxmemory-policy', policy);
    const client = { ...clients, ...nodeClients }[version](server.port);
    try {
      const store = new RedisStore(client);
      await store.load(address(), call());
      await store.load(address(), call());
      await store.load(address(), call()); // on one connection: replies come in order
      await new Promise((resolve) => setImmediate(resolve));
      return warnings.map(({ code, message }) => `${code}: ${message}`);
    } finally {
      if ('isOpen' in client) client.destroy();
      else client.disconnect();
    }
  }

  for (const version of ['ioredis 6', 'ioredis 5', 'node-redis 5', 'node-redis 6'] as const) {
    for (const policy of ['allkeys-lru', 'volatile-ttl']) {
      it(`that evicts is warned of once, at the first use: ${policy}, ${version}`, async () => {
        const [warning = '', ...others] = await warningsUnder(policy, version);
        expect(warning).to.match(new RegExp(`^WSESSION_EVICTION: Redis has the maxmemory-policy ${policy}:`));
        expect(warning).to.contain('Set maxmemory-policy noeviction');
        expect(others).to.deep.equal([]);
      });
    }
  }

  it('noeviction is nothing to warn of', async () => {
    expect(await warningsUnder('noeviction', 'ioredis 6')).to.deep.equal([]);
  });

  it('is not an error where the user may not ask', async () => {
    await admin.config('SET', 'maxmemory-policy', 'allkeys-lru');
    await admin.call('ACL', 'SETUSER', 'mute', 'on', '>secret', '~*', '+@connection', '+eval', '+evalsha', '+type');
    const client = new Redis({
      port: server.port,
      username: 'mute',
      password: 'secret',
      enableReadyCheck: false,
    });
    try {
      const store = new RedisStore(client);
      for (let i = 0; i < 3; i++) expect(await store.load(address(), call())).to.equal(undefined);
      await new Promise((resolve) => setImmediate(resolve));
      expect(warnings).to.deep.equal([]);
    } finally {
      client.disconnect();
    }
  });
});
