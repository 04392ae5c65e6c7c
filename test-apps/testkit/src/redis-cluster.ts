import { ask, until } from './redis-ask.js';
import { type RedisOptions, type RedisServer, startRedis } from './redis-server.js';

export interface RedisCluster {
  /** The masters that the cluster began with, then their replicas in the same order. */
  readonly nodes: readonly RedisServer[];
  stop(): Promise<void>;
}

/** Starts a Redis Cluster of three masters with a replica each, and resolves when all slots are served and replicated. */
export async function startCluster(options: RedisOptions = {}): Promise<RedisCluster> {
  const args = [
    ...['--cluster-enabled', 'yes', '--cluster-node-timeout', '1000', '--repl-diskless-sync-delay', '0'],
    ...(options.args ?? []),
  ];
  const nodes = await startAll(6, () => startRedis({ ...options, args }));
  const stop = async (): Promise<void> => {
    await Promise.all(nodes.map((node) => node.stop()));
  };
  try {
    await form(nodes);
  } catch (error) {
    await stop();
    throw error;
  }
  return { nodes, stop };
}

async function form(nodes: readonly RedisServer[]): Promise<void> {
  const masters = nodes.slice(0, 3);
  const ids = await Promise.all(masters.map(async ({ port }) => textOf(await command(port, 'CLUSTER MYID'))));
  for (const [i, { port }] of masters.entries()) {
    await command(port, `CLUSTER SET-CONFIG-EPOCH ${i + 1}`);
    const [from, to] = [i, i + 1].map((n) => Math.floor((n * 16384) / masters.length)) as [number, number];
    await command(port, `CLUSTER ADDSLOTSRANGE ${from} ${to - 1}`);
  }
  const [first] = nodes as [RedisServer];
  for (const { port } of nodes.slice(1)) await command(port, `CLUSTER MEET 127.0.0.1 ${first.port}`);

  for (const [i, { port }] of nodes.slice(3).entries()) {
    await until('a replica knows its master', async () => (await ask(port, 'CLUSTER NODES')).includes(`${ids[i]} `));
    await command(port, `CLUSTER REPLICATE ${ids[i]}`);
  }
  await until('each node sees the whole cluster, and each replica is in sync', async () => {
    for (const [i, { port }] of nodes.entries()) {
      const info = await ask(port, 'CLUSTER INFO');
      if (!/cluster_state:ok/.test(info) || !/cluster_known_nodes:6/.test(info)) return false;
      if ((await ask(port, 'CLUSTER NODES')).match(/ (myself,)?slave /g)?.length !== 3) return false;
      if (i >= 3 && !/master_link_status:up/.test(await ask(port, 'INFO replication'))) return false;
    }
    return true;
  });
}

async function command(port: number, line: string): Promise<string> {
  const reply = await ask(port, line);
  if (reply.startsWith('-')) throw new Error(`${line}: ${reply}`);
  return reply;
}

function textOf(reply: string): string {
  return reply.split('\r\n')[1] ?? '';
}

/** All or none: when one doesn't start, the others are stopped. */
export async function startAll(count: number, start: (index: number) => Promise<RedisServer>): Promise<RedisServer[]> {
  const started = await Promise.allSettled(Array.from({ length: count }, (_, index) => start(index)));
  const servers = started.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
  const failed = started.find((one) => one.status === 'rejected');
  if (!failed) return servers;
  await Promise.all(servers.map((server) => server.stop()));
  throw failed.reason;
}
