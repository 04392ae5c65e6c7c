import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { RedisStore } from '@koa-wsession/store-redis';
import { expect } from 'chai';
import { describeWith } from 'testkit/programs';
import { address, call, changesOf, contentOf, recordOf, rejection } from 'testkit/records';
import { type RedisServer, startRedis } from 'testkit/redis';
import { clients, nodeClients } from './support.js';

const run = promisify(execFile);

describeWith(['redis-server'], 'While the event loop is busy until a deadline', () => {
  let server: RedisServer;
  before(async () => {
    server = await startRedis();
  });
  after(() => server.stop());

  for (const [version, connect] of [...Object.entries(clients), ...Object.entries(nodeClients)])
    it(`a call isn't carried out after it: ${version}`, async () => {
      const redis = connect(server.port);
      try {
        const store = new RedisStore(redis);
        const key = address();
        await store.create(key, recordOf({ n: '1' }), call());
        await store.update(key, changesOf({ n: '2' }), call()); // so that Redis knows the script
        await (redis as { get(key: string): Promise<unknown> }).get('x'); // what follows runs where replies are read: before what was left for the end of the turn
        const late = rejection(store.update(key, changesOf({ n: 'late' }), call(100)));
        for (let i = 0; i < 20; i++) await undefined;
        const until = performance.now() + 150;
        while (performance.now() < until);
        expect((await late).message).to.match(/TIMEOUT|abort/);
        expect(contentOf(await store.load(key, call()))).to.deep.equal({ n: '2' });
      } finally {
        redis.disconnect();
      }
    });

  it('commands leave also where a test runner has replaced setImmediate before the store was loaded', async () => {
    const program = `
      globalThis.setImmediate = () => {};
      const { RedisStore } = await import('@koa-wsession/store-redis');
      const { Redis } = await import('ioredis');
      const redis = new Redis(${server.port});
      const call = { name: 's', deadline: performance.now() + 60_000 };
      console.log(await new RedisStore(redis).load('k'.repeat(43), call));
      redis.disconnect();`;
    const { stdout } = await run(process.execPath, ['--input-type=module', '-e', program], {
      cwd: import.meta.dirname,
    });
    expect(stdout.trim()).to.equal('undefined');
  });
});
