import { RedisStore } from '@koa-wsession/store-redis';
import { expect } from 'chai';
import { Redis } from 'ioredis';
import { Redis as Redis5 } from 'ioredis5';
import { Client, type Served, serve } from 'testkit/http';
import { describeWith } from 'testkit/programs';
import { address, call, changesOf, contentOf, recordOf } from 'testkit/records';
import { type RedisCluster, type RedisServer, startCluster, until } from 'testkit/redis';
import { counterApp } from './app.js';
import { describeOutcome, type Outcome, startLoad } from './load.js';
import { COMMANDS } from './support.js';

const versions = {
  'ioredis 6': (ports: number[]) =>
    new Redis.Cluster(ports, { redisOptions: { socketTimeout: 1000 } }).on('error', () => {}),
  'ioredis 5': (ports: number[]) =>
    new Redis5.Cluster(ports, { redisOptions: { socketTimeout: 1000 } }).on('error', () => {}),
};

for (const [version, connect] of Object.entries(versions)) {
  if (version !== 'ioredis 6' && process.env.SOAK !== '1') continue; // one of them is long enough for every day
  describeWith(['redis-server'], `A Cluster of three masters with a replica each, with ${version}`, function () {
    this.timeout(60_000);
    let cluster: RedisCluster;
    let redis: ReturnType<typeof connect>;
    let store: RedisStore;
    let served: Served;
    before(async () => {
      cluster = await startCluster();
      redis = connect(cluster.nodes.map(({ port }) => port));
      store = new RedisStore(redis);
      served = await serve(counterApp(store, 1000));
    });
    after(async () => {
      await served.close();
      redis.disconnect();
      await cluster.stop();
    });

    async function ask(node: RedisServer | undefined, ...command: [string, ...string[]]): Promise<string> {
      const direct = new Redis(node?.port ?? 0);
      try {
        return String(await direct.call(...command));
      } finally {
        direct.disconnect();
      }
    }

    it('keeps sessions on each master, and gives each back', async () => {
      const keys = Array.from({ length: 60 }, address);
      await Promise.all(keys.map((key, i) => store.create(key, recordOf({ n: String(i), old: '' }), call())));
      await Promise.all(keys.map((key) => store.update(key, changesOf({ m: '1' }, { delete: ['old'] }), call())));
      const loaded = await Promise.all(keys.map((key) => store.load(key, call())));
      expect(loaded.map(contentOf)).to.deep.equal(keys.map((_, i) => ({ n: String(i), m: '1' })));
      const sizes = await Promise.all(cluster.nodes.slice(0, 3).map((node) => ask(node, 'DBSIZE')));
      expect(Math.min(...sizes.map(Number))).to.be.above(0);
      const ended = await Promise.all(keys.map((key) => store.destroy(key, call())));
      expect(ended.map(contentOf)).to.deep.equal(loaded.map(contentOf));
    });

    it('returns the keys of each master in scan()', async () => {
      const keys = Array.from({ length: 60 }, address);
      await Promise.all(keys.map((key) => store.create(key, recordOf(), call())));
      const scanned: string[] = [];
      for await (const batch of store.scan(() => call())) scanned.push(...batch);
      expect(scanned).to.include.members(keys);
    });

    for (const [version, ClusterClient] of [
      ['ioredis 6', Redis.Cluster],
      ['ioredis 5', Redis5.Cluster],
    ] as const) {
      it(`takes parallel calls with enableAutoPipelining: ${version}`, async () => {
        const ports = cluster.nodes.map(({ port }) => port);
        const pipelining = new ClusterClient(ports, { enableAutoPipelining: true });
        try {
          const other = new RedisStore(pipelining);
          const keys = Array.from({ length: 60 }, address);
          await Promise.all(keys.map((key) => other.create(key, recordOf({ n: '1' }), call())));
          const loaded = await Promise.all(keys.map((key) => other.load(key, call())));
          expect(loaded.map(contentOf)).to.deep.equal(keys.map(() => ({ n: '1' })));
        } finally {
          pipelining.disconnect();
        }
      });
    }

    it('is read from masters only, with the rights that the README names', async () => {
      const rights = ['~wppsess:*', '+@connection', '+info', '+cluster', ...COMMANDS.map((command) => `+${command}`)];
      for (const node of cluster.nodes) await ask(node, 'ACL', 'SETUSER', 'sessions', 'on', '>secret', ...rights);
      const limited = new Redis.Cluster(
        cluster.nodes.map(({ port }) => port),
        { scaleReads: 'slave', redisOptions: { username: 'sessions', password: 'secret' } },
      );
      try {
        const other = new RedisStore(limited);
        const keys = Array.from({ length: 60 }, address);
        await Promise.all(keys.map((key, i) => other.create(key, recordOf({ n: String(i) }), call())));
        const loaded = await Promise.all(keys.map((key) => other.load(key, call())));
        expect(loaded.map(contentOf)).to.deep.equal(keys.map((_, i) => ({ n: String(i) })));
        for (const node of cluster.nodes.slice(3)) {
          expect(await ask(node, 'INFO', 'commandstats')).not.to.match(/cmdstat_eval/);
        }
      } finally {
        limited.disconnect();
      }
    });

    /** What comes of a load while `change` has the replica take over. */
    async function loadWhile(
      test: Mocha.Context,
      replica: RedisServer | undefined,
      change: () => unknown,
    ): Promise<Outcome> {
      const load = await startLoad(served.url, 12);
      await load.settled();
      await change();
      await until('the replica took over', async () => /role:master/.test(await ask(replica, 'INFO', 'replication')));
      await load.settled();
      const outcome = await load.end();
      test.test!.title += ` (${describeOutcome(outcome)})`;
      return outcome;
    }

    it('loses nothing to a failover that is ordered under load', async function () {
      const [, , , replica] = cluster.nodes;
      const outcome = await loadWhile(this, replica, () => ask(replica, 'CLUSTER', 'FAILOVER'));
      expect(outcome.lost).to.equal(0);
    });

    it('survives a crash of a master under load', async function () {
      const [, master, , , replica] = cluster.nodes;
      const outcome = await loadWhile(this, replica, () => master?.kill('SIGKILL'));
      expect(outcome.lost).to.be.at.most(12 * 2, 'no more than what was on its way to the replica');
    });

    it('survives a master that hangs under load', async function () {
      if (process.env.SOAK !== '1') this.skip(); // sentinel.test.ts has one every day
      const [, , master, , , replica] = cluster.nodes;
      const outcome = await loadWhile(this, replica, () => master?.kill('SIGSTOP'));
      expect(outcome.lost).to.be.at.most(12 * 2, 'no more than what was on its way to the replica');
    });

    it('may be away, all of it, when the app starts', async () => {
      await Promise.all(cluster.nodes.map((node) => node.kill('SIGKILL')));
      const late = connect(cluster.nodes.map(({ port }) => port));
      const app = await serve(counterApp(new RedisStore(late), 300));
      try {
        const visitor = new Client(app);
        expect((await visitor.get('/free')).status).to.equal(200);
        expect((await visitor.get('/count')).status).to.equal(503);
        await Promise.all(cluster.nodes.map((node) => node.restart()));
        await until('it recovers', async () => (await visitor.get('/count')).status === 200, 30_000);
        expect((await visitor.get('/count')).body).to.equal('2');
      } finally {
        await app.close();
        late.disconnect();
      }
    });
  });
}
