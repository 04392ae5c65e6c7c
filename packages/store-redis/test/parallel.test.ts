import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { RedisStore } from '@koa-wsession/store-redis';
import { expect } from 'chai';
import { Redis } from 'ioredis';
import { Client, type Served, serve } from 'testkit/http';
import { type RedisServer, startRedis } from 'testkit/redis';
import { counterApp } from './app.js';

describe('Parallel requests of one visitor', () => {
  let server: RedisServer;
  let redis: Redis;
  let served: Served;
  let worker: ChildProcess;
  /** Where the app is served: here, and by another process. */
  let urls: string[];
  before(async () => {
    server = await startRedis();
    redis = new Redis(server.port);
    served = await serve(counterApp(new RedisStore(redis)));
    worker = fork(new URL('./worker.js', import.meta.url), [String(server.port)]);
    const [port] = await once(worker, 'message');
    urls = [served.url, `http://127.0.0.1:${port}`];
  });
  after(async () => {
    worker.disconnect();
    await once(worker, 'exit');
    await served.close();
    redis.disconnect();
    await server.stop();
  });

  const keys = Array.from({ length: 100 }, (_, i) => `k${i}`).sort();

  for (const processes of [1, 2]) {
    const where = processes === 1 ? 'in one process' : 'in two processes';

    /** 100 requests at once, each to the next process. */
    async function ask(cookie: string, paths: readonly string[]): Promise<void> {
      const answers = await Promise.all(
        paths.map((path, i) => new Client(urls[i % processes] as string).get(path, { headers: { cookie } })),
      );
      expect(answers.map(({ status }) => status)).to.deep.equal(paths.map(() => 200));
    }

    it(`on 100 different keys all survive, ${where}`, async () => {
      const visitor = new Client(served);
      await visitor.get('/set/k0');
      await ask(
        visitor.cookie,
        keys.map((key) => `/set/${key}`),
      );
      expect((await visitor.get('/keys')).json()).to.deep.equal(keys);
    });

    it(`with update() on one key lose none of 100, ${where}`, async () => {
      const visitor = new Client(served);
      await visitor.get('/set/k0');
      await ask(
        visitor.cookie,
        keys.map(() => '/update'),
      );
      expect((await visitor.get('/read')).body).to.equal('100');
    });
  }
});
