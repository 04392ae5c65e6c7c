import { Redis } from 'ioredis';
import { startPostgres } from 'testkit/postgres';
import { startRedis } from 'testkit/redis';
import { query } from './postgres.js';

/**
 * @typedef {object} DatabaseServer
 * @property {number} port
 * @property {{ kill(): Promise<void>, restart(): Promise<void>, stop(): Promise<void> }} server
 * @property {() => Promise<unknown>} empty removes everything that is in it
 * @property {() => Promise<() => Promise<string[]>>} watchWrites from now on: what was written, in the server's words
 */

/** @typedef {{ redis?: DatabaseServer & { client: Redis }, postgres?: DatabaseServer, close(): Promise<void> }} Servers */

/**
 * Starts a server for each of these kinds of system that needs one.
 *
 * @param {readonly string[]} kinds
 * @returns {Promise<Servers>}
 */
export async function openServers(kinds) {
  const redis = kinds.includes('redis') ? await openRedis() : undefined;
  const postgres = kinds.includes('postgres') ? await openPostgres() : undefined;
  return {
    redis,
    postgres,
    async close() {
      redis?.client.disconnect();
      for (const opened of [redis, postgres]) await opened?.server.stop();
    },
  };
}

/**
 * The same while `use` runs.
 *
 * @template T
 * @param {readonly string[]} kinds
 * @param {(servers: Servers) => Promise<T>} use
 */
export async function withServers(kinds, use) {
  const servers = await openServers(kinds);
  try {
    return await use(servers);
  } finally {
    await servers.close();
  }
}

/** What `startServer` passes on to a system: the servers' ports. */
export function portsOf({ redis, postgres }) {
  return { redisPort: redis?.port, postgresPort: postgres?.port };
}

async function openRedis() {
  const server = await startRedis();
  const client = new Redis(server.port);
  client.on('error', () => {}); // it may be killed
  const watchWrites = async () => {
    await client.config('RESETSTAT');
    return async () => {
      const stats = await client.info('commandstats');
      const names = Array.from(stats.matchAll(/^cmdstat_([^:]+):/gm), ([, name]) => name);
      return names.filter((name) => !READS.test(name)).map((name) => name.toUpperCase());
    };
  };
  return { port: server.port, server, client, empty: () => client.flushall(), watchWrites };
}

/** Commands that write nothing; those that scripts run are counted, too. */
const READS =
  /^(get|mget|hget|hgetall|hmget|exists|ttl|pttl|type|time|evalsha|eval|info|config.*|ping|hello|client.*|command.*)$/;

async function openPostgres() {
  const server = await startPostgres();
  const empty = () => query(server.port, 'DROP SCHEMA public CASCADE; CREATE SCHEMA public');
  const watchWrites = async () => {
    const before = await transactions();
    return async () => ((await transactions()) - before > 1 ? ['a transaction'] : []);
  };
  /** Each transaction that writes takes a number, and so does the one that asks. */
  const transactions = async () =>
    Number((await query(server.port, 'SELECT pg_current_xact_id()::text AS number'))[0].number);
  return { port: server.port, server, empty, watchWrites };
}
