import { ask, until } from './redis-ask.js';
import { startAll } from './redis-cluster.js';
import { type RedisServer, startRedis } from './redis-server.js';

export interface RedisSentinels {
  /** The name of the master, as the sentinels call it. */
  readonly name: string;
  /** Where the three sentinels are. */
  readonly sentinels: ReadonlyArray<{ readonly host: string; readonly port: number }>;
  /** The master that it began with, then its two replicas. */
  readonly nodes: readonly RedisServer[];
  stop(): Promise<void>;
}

/** Starts a master with two replicas and three sentinels, and resolves when they know each other. */
export async function startSentinels(): Promise<RedisSentinels> {
  const name = 'sessions';
  const servers: RedisServer[] = [];
  const stop = async (): Promise<void> => {
    await Promise.all(servers.map((server) => server.stop()));
  };
  try {
    const sync = ['--repl-diskless-sync-delay', '0'];
    const master = await startRedis({ args: sync });
    servers.push(master);
    const follow = ['--replicaof', `127.0.0.1 ${master.port}`];
    servers.push(...(await startAll(2, () => startRedis({ args: [...sync, ...follow] }))));
    const nodes = [...servers];
    await until('the replicas are in sync', async () =>
      (await ask(master.port, 'INFO replication')).includes('connected_slaves:2'),
    );

    const sentinel = `
      sentinel monitor ${name} 127.0.0.1 ${master.port} 2
      sentinel down-after-milliseconds ${name} 500
      sentinel failover-timeout ${name} 3000
    `;
    const sentinels = await startAll(3, () => startRedis({ sentinel }));
    servers.push(...sentinels);
    await until(
      'the sentinels know each other and the replicas',
      async () => {
        for (const { port } of sentinels) {
          const info = await ask(port, 'INFO sentinel');
          if (!/slaves=2,sentinels=3/.test(info)) return false;
        }
        return true;
      },
      20_000,
    );
    return { name, sentinels: sentinels.map(({ port }) => ({ host: '127.0.0.1', port })), nodes, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
