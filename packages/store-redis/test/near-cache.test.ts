import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as wait } from 'node:timers/promises';
import { expect } from 'chai';
import { Client } from 'testkit/http';
import { describeWith } from 'testkit/programs';
import { ask, type RedisServer, startRedis, until } from 'testkit/redis';

/* What the near cache promises, with two processes and a real Redis. */

const MAX_AGE = 1000;

for (const version of ['ioredis 6', 'ioredis 5', 'node-redis 5', 'node-redis 6']) {
  if (version.endsWith('5') && process.env.SOAK !== '1') continue; // the newest are enough for every day
  describeWith(['redis-server'], `nearCache(RedisStore) in two processes, with ${version}`, () => {
    let server: RedisServer;
    let processes: ChildProcess[];
    let urls: string[];
    before(async () => {
      server = await startRedis();
      const worker = new URL('./near-cache-worker.js', import.meta.url);
      processes = [1, 2].map(() => fork(worker, [version, String(server.port), String(MAX_AGE)]));
      const ports = await Promise.all(processes.map(async (one) => (await once(one, 'message'))[0]));
      urls = ports.map((port) => `http://127.0.0.1:${port}`);
    });
    after(async () => {
      const ends = processes.map((one) => once(one, 'exit'));
      for (const one of processes) one.disconnect();
      await Promise.all(ends);
      await server.stop();
    });

    /** A request to one of the processes: the content, and the cookie to send from then on. */
    const get = async (process: number, path: string, cookie: string) => {
      const { status, setCookie, body } = await new Client(urls[process] as string).get(path, { headers: { cookie } });
      return { status, content: body.startsWith('{') ? JSON.parse(body) : {}, cookie: setCookie[0]?.split(';')[0] };
    };
    /** How many scripts ran on the server so far: each is one round trip. */
    const roundTrips = async (): Promise<number> => {
      const stats = await ask(server.port, 'INFO commandstats');
      return Number(/cmdstat_evalsha:calls=(\d+)/.exec(stats)?.[1] ?? 0);
    };
    /** A session that both processes have in their caches, and the cookie that led to it there. */
    const begin = async (): Promise<string> => {
      const { cookie = '' } = await get(0, '/update', '');
      for (const process of [0, 1]) await untilCached(process, cookie);
      return cookie;
    };
    const untilCached = (process: number, cookie: string): Promise<void> =>
      until('it is cached', async () => {
        await get(process, '/', cookie);
        const before = await roundTrips();
        await get(process, '/', cookie);
        return (await roundTrips()) === before;
      });

    /** Reads in the other process until the content is as it should be: in every read that begins over maxAge from now. */
    const untilRead = async (isNew: (content: { counter?: number }) => boolean, cookie: string): Promise<void> => {
      const changed = performance.now();
      for (;;) {
        const began = performance.now();
        if (isNew((await get(1, '/', cookie)).content)) return;
        expect(began - changed).to.be.below(MAX_AGE);
      }
    };

    it('a cached read takes no round trip', async () => {
      const cookie = await begin();
      const before = await roundTrips();
      for (let i = 0; i < 20; i++) expect((await get(i % 2, '/', cookie)).content).to.deep.equal({ counter: 1 });
      expect(await roundTrips()).to.equal(before);
    });

    it('the newest token reads a change of the other process at once, 100 times in a row', async () => {
      let cookie = await begin();
      for (let n = 2; n < 102; n++) {
        ({ cookie = '' } = await get(n % 2, '/update', cookie));
        expect((await get((n + 1) % 2, '/', cookie)).content).to.deep.equal({ counter: n });
      }
    });

    it('an older token reads it within maxAge', async () => {
      const older = await begin();
      await get(0, '/update', older);
      await untilRead((content) => content.counter === 2, older);
    });

    it('a logout is final for writes at once, and for reads within maxAge', async () => {
      const cookie = await begin();
      expect((await get(0, '/logout', cookie)).status).to.equal(200);
      const late = await get(1, '/set/key-1', cookie);
      // 409 from a cached session; or else a new one of an anonymous visitor.
      expect([late.status, late.content]).to.be.deep.oneOf([
        [409, {}],
        [200, { 'key-1': 1 }],
      ]);
      await untilRead((content) => content.counter === undefined, cookie);
    });

    it('a process that was stopped, and goes on, reads nothing that is over maxAge behind', async () => {
      const cookie = await begin();
      processes[1]?.kill('SIGSTOP');
      await get(0, '/update', cookie);
      await wait(MAX_AGE); // the promise is about time
      const answer = get(1, '/', cookie);
      processes[1]?.kill('SIGCONT');
      expect((await answer).content).to.deep.equal({ counter: 2 });
    });

    it('a lost connection of the feed costs round trips, and no change', async () => {
      let cookie = await begin();
      for (let n = 2; n < 6; n++) {
        await ask(server.port, `CLIENT KILL TYPE ${version.startsWith('io') ? 'pubsub' : 'normal'}`);
        ({ cookie = '' } = await get(0, '/update', cookie));
        expect((await get(1, '/', cookie)).content).to.deep.equal({ counter: n });
        await untilCached(1, cookie);
      }
    });
  });
}
