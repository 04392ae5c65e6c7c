import { ask, type RedisServer, startCluster, until } from 'testkit/redis';
import { type Tally, underLoad } from './load.js';
import { RoundRobin } from './proxy.js';
import { Servers } from './servers.js';

export type { Tally } from './load.js';

export interface Outcome {
  /** Each server was restarted gracefully, and one was killed. */
  readonly servers: Tally;
  /** The port of the one that was killed. */
  readonly killed: number;
  /** A master of the Redis Cluster was killed. */
  readonly failover: Tally | undefined;
}

/** Four servers behind a proxy, sessions in a Redis Cluster, and so many visitors that send requests without a pause. */
export async function run(visitors: number, options: { failover: boolean }): Promise<Outcome> {
  const redis = await startCluster();
  const proxy = new RoundRobin();
  const servers = new Servers(
    proxy,
    redis.nodes.map(({ port }) => port),
  );
  const served = await proxy.listen();
  try {
    await servers.start(4);
    let killed = 0;
    const restarts = await underLoad(served.url, proxy, visitors, async (settled) => {
      await servers.restartEach(settled);
      killed = await servers.crash();
    });
    if (!options.failover) return { servers: restarts, killed, failover: undefined };
    const [master, , , replica] = redis.nodes as [RedisServer, RedisServer, RedisServer, RedisServer];
    const failover = await underLoad(served.url, proxy, visitors, async () => {
      await master.kill('SIGKILL');
      await until('the replica took over', () => isMaster(replica));
    });
    return { servers: restarts, killed, failover };
  } finally {
    await servers.stop();
    await served.close();
    await redis.stop();
  }
}

async function isMaster({ port }: RedisServer): Promise<boolean> {
  return (await ask(port, 'INFO replication')).includes('role:master');
}
