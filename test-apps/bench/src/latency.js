import { Redis } from 'ioredis';
import { startServer } from './children.js';
import { Visitor } from './client.js';
import { withProxy } from './proxy.js';
import { portsOf, withServers } from './servers.js';
import { can, REFERENCE, SYSTEMS } from './systems.js';

/** Milliseconds by which the database server's replies are late. */
export const DELAY = 1;

/**
 * @typedef {object} Latency of one system at one work, in milliseconds
 * @property {string} system
 * @property {string} work
 * @property {number} p50
 * @property {number} p99
 */

/**
 * How long requests take where the database server is a millisecond away. One request at a time; the systems take turns,
 * so that a slow moment of the machine slows all of them.
 *
 * @param {{ systems: import('./systems.js').System[], works: import('./works.js').Work[] }} selection
 * @param {number} requests for each system and work
 * @param {(text: string) => void} progress
 * @returns {Promise<{ latencies: Latency[], roundTrip: { p50: number, p99: number } }>} `roundTrip`: of a PING to Redis
 */
export function measureLatency({ systems, works }, requests, progress) {
  const bare = [REFERENCE, ...SYSTEMS.filter(({ id }) => id === 'express')];
  const measured = systems.filter(({ kind, role }) => (kind === 'redis' || kind === 'postgres') && role !== 'floor');
  return withServers(['redis', 'postgres'], ({ redis, postgres }) =>
    withProxy({ port: redis.port, kind: 'redis', delay: DELAY }, (farRedis) =>
      withProxy({ port: postgres.port, kind: 'postgres', delay: DELAY }, async (farPostgres) => {
        const ports = portsOf({ redis: farRedis, postgres: farPostgres });
        const opened = [];
        try {
          for (const system of [...bare, ...measured])
            opened.push({ system, server: await startServer(system, ports) });
          const latencies = [];
          for (const work of works) {
            progress(work.title);
            const able = opened.filter(({ system }) => system.kind === 'bare' || can(system, work));
            latencies.push(...(await measureWork(able, work, requests)));
          }
          return { latencies, roundTrip: await measureRoundTrip(farRedis.port, requests) };
        } finally {
          for (const { server } of opened) await server.stop();
        }
      }),
    ),
  );
}

/** A system without sessions serves the page that needs none. */
const PLAIN = { before: 'none', path: () => '/untouched', body: () => 'untouched' };

async function measureWork(opened, work, requests) {
  const visitors = opened.map(({ system, server }) => new Visitor(server.port, system.kind === 'bare' ? PLAIN : work));
  const times = opened.map(() => []);
  for (const visitor of visitors) await visitor.arrive();
  for (let i = -requests; i < requests; i++) {
    for (const [at, visitor] of visitors.entries()) {
      const start = performance.now();
      await visitor.visit();
      if (i >= 0) times[at].push(performance.now() - start);
    }
  }
  for (const visitor of visitors) {
    await visitor.prove();
    visitor.leave();
  }
  return opened.map(({ system }, at) => ({ system: system.id, work: work.id, ...percentiles(times[at]) }));
}

async function measureRoundTrip(port, requests) {
  const redis = new Redis(port);
  const times = [];
  for (let i = 0; i < requests; i++) {
    const start = performance.now();
    await redis.ping();
    times.push(performance.now() - start);
  }
  redis.disconnect();
  return percentiles(times);
}

function percentiles(times) {
  const sorted = [...times].sort((a, b) => a - b);
  const at = (part) => sorted[Math.floor(part * (sorted.length - 1))];
  return { p50: at(0.5), p99: at(0.99) };
}
