import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { opendir, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { FsStore } from '@koa-wsession/store-fs';
import { RedisStore } from '@koa-wsession/store-redis';
import { startServer, withDirectory } from './children.js';
import { withVisitors } from './client.js';
import { FULL, measureSlices, summarize, withPair } from './ratios.js';
import { table } from './report.js';
import { round } from './round.js';
import { measurePostgresScale } from './scale-postgres.js';
import { portsOf, withServers } from './servers.js';
import { SYSTEMS } from './systems.js';
import { CONTENT, WORKS } from './works.js';

export const SIZES = [100, 10_000, 1_000_000];

/** Many visitors, so that their sessions are spread among the others. */
const EFFORT = { ...FULL, rounds: 3, visitors: 128 };

const MEASURED = ['read', 'counter'].map((id) => WORKS.find((work) => work.id === id));

/** One in so many sessions has expired when the sweep comes. */
const EXPIRED = 10;

/** No sweep may hold the event loop for longer, in milliseconds. */
const LONGEST_HOLD = 20;

/**
 * What changes when there are many sessions, as Markdown without times; `progress` also gets the times.
 * @param {import('./systems.js').System[]} systems only redis, fs and postgres are measured
 * @param {number[]} sizes
 * @param {(text: string) => void} progress
 */
export async function measureScale(systems, sizes, progress) {
  const texts = [];
  if (systems.some(({ id }) => id in SCALED)) texts.push(await measureRedisAndFiles(systems, sizes, progress));
  const postgres = systems.find(({ id }) => id === 'postgres');
  if (postgres) texts.push(await measurePostgresScale(postgres, sizes, EFFORT, progress));
  return texts.join('\n\n');
}

async function measureRedisAndFiles(systems, sizes, progress) {
  const bytes = await measureBytes();
  progress(bytes);
  const rows = [];
  for (const system of systems) {
    for (const { size, sweep = '-', ...costs } of (await SCALED[system.id]?.(system, sizes, progress)) ?? []) {
      rows.push([system.label, size.toLocaleString('en'), ...Object.values(costs), sweep]);
    }
  }
  const head = ['', 'sessions', ...MEASURED.map(({ title }) => title), `no hold over ${LONGEST_HOLD} ms`];
  return `What a request costs among so many sessions (besides those of the visitors), in multiples of Koa without, and whether a sweep that looks into all
files, and removes one in ${EXPIRED}, lets the event loop go on:

${table([head, ...rows])}

Bytes of one session of ten keys and 300 bytes:

${bytes}`;
}

const SCALED = {
  redis: (system, sizes, progress) =>
    withServers(['redis'], (servers) => {
      const store = new RedisStore(servers.redis.client, { expire: 86_400 });
      return grow(system, portsOf(servers), store, sizes, progress);
    }),
  fs: (system, sizes, progress) =>
    withDirectory((directory) => {
      const store = new FsStore({ directory, fsync: false, sweepInterval: false, expire: 86_400 });
      return grow(system, { directory }, store, sizes, progress, (size) => sweep(directory, size, progress));
    }),
};

/** Fills the store up to each size, and measures there. */
async function grow(system, context, store, sizes, progress, afterwards) {
  const rows = [];
  let filled = 0;
  for (const size of sizes) {
    progress(`${system.label}: ${size.toLocaleString('en')} sessions, filling`);
    await fill(store, size - filled, (done) => progress(`  ${(filled + done).toLocaleString('en')}`));
    const row = { size };
    const measured = new Map(MEASURED.map(({ id }) => [id, []]));
    for (let r = 0; r < EFFORT.rounds; r++) {
      await withPair(system, context, EFFORT, async (pair) => {
        for (const work of MEASURED) measured.get(work.id).push(...(await measureSlices(pair, work, EFFORT)));
      });
    }
    for (const [work, values] of measured) {
      const { median, min, max } = summarize(values);
      row[work] = `${round(median)} (${round(min)}–${round(max)})`;
    }
    progress(`${system.label}: ${size.toLocaleString('en')} sessions: ${JSON.stringify(row)}`);
    filled = size;
    if (afterwards) {
      const { removed, longest } = await afterwards(size);
      filled -= removed;
      row.sweep = longest <= LONGEST_HOLD ? 'yes' : 'NO';
    }
    rows.push(row);
  }
  return rows;
}

/** Creates records as the core does, without HTTP. */
async function fill(store, number, progress) {
  const entries = new Map(Object.entries(CONTENT).map(([key, value]) => [key, JSON.stringify(value)]));
  let begun = 0;
  await Promise.all(
    Array.from({ length: 64 }, async () => {
      while (begun < number) {
        const mine = ++begun;
        const isExpired = mine % EXPIRED === 0 && store instanceof FsStore;
        const now = Date.now();
        const expiresAt = now + (isExpired ? -1 : 86_400_000);
        const record = { entries, createdAt: now, updatedAt: now, expiresAt, revision: 1 };
        const address = randomBytes(32).toString('base64url');
        await store.create(address, record, { name: 'wsession', deadline: performance.now() + 60_000 });
        if (mine % 100_000 === 0) progress(mine);
      }
    }),
  );
}

/** Sweeps in a process of its own, after making all files old, so that the sweep must look into each. */
async function sweep(directory, size, progress) {
  const dayAgo = new Date(Date.now() - 2 * 86_400_000);
  for await (const path of filesIn(directory)) await utimes(path, dayAgo, dayAgo);
  const child = spawn(process.execPath, [fileURLToPath(new URL('./sweeper.js', import.meta.url)), directory], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const [[{ removed, longest, seconds }]] = await Promise.all([once(child, 'message'), once(child, 'exit')]);
  progress(
    `FsStore: ${size.toLocaleString('en')} files: the sweep removed ${removed} in ${seconds.toFixed(1)} s ` +
      `and held the event loop for ${longest.toFixed(1)} ms at most`,
  );
  return { removed, longest };
}

async function* filesIn(directory) {
  for await (const entry of await opendir(directory, { recursive: true })) {
    if (entry.isFile()) yield join(entry.parentPath, entry.name);
  }
}

/** The bytes of one session, of each system. */
async function measureBytes() {
  const rows = [['', 'Redis (MEMORY USAGE)', 'file', 'on disk (blocks)']];
  await withServers(['redis'], async (servers) => {
    const { client } = servers.redis;
    for (const system of SYSTEMS.filter(({ kind, role }) => ['redis', 'file'].includes(kind) && role !== 'floor')) {
      await client.flushall();
      await withDirectory(async (directory) => {
        const server = await startServer(system, { ...portsOf(servers), directory });
        const [work] = MEASURED;
        await withVisitors(server.port, work, 1, async ([visitor]) => visitor.visit());
        await server.stop();
        let [memory, size, blocks] = [0, 0, 0];
        for (const key of await client.keys('*')) memory += await client.memory('USAGE', key);
        for await (const path of filesIn(directory)) {
          const stats = await stat(path);
          size += stats.size;
          blocks += stats.blocks * 512;
        }
        const label = system.role === 'ours' ? `**${system.label}**` : system.label;
        rows.push([label, memory || '-', size || '-', blocks || '-']);
      });
    }
  });
  return table(rows);
}
