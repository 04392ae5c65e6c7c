import { readFileSync } from 'node:fs';
import { startServer } from './children.js';
import { withVisitors } from './client.js';
import { query } from './postgres.js';
import { measureSlices, summarize, withPair } from './ratios.js';
import { table } from './report.js';
import { round } from './round.js';
import { portsOf, withServers } from './servers.js';
import { SYSTEMS } from './systems.js';
import { WORKS } from './works.js';

/** The names of a system's table, and of its columns: key, expiry, others. */
const TABLES = {
  postgres: ['wsession', 'key', 'expires_at', 'entries, revision, created_at, updated_at'],
  'koa-session-knex': ['koa_session', 'sid', 'expired', 'sess'],
  'express-session-pg': ['session', 'sid', 'expire', 'sess'],
};

const [FILL, READ, COUNTER] = [
  { before: '/fill', path: () => '/read', body: () => 'Ada Lovelace' },
  ...['read', 'counter'].map((id) => WORKS.find((work) => work.id === id)),
];

/** What a request costs the app and the server among so many sessions, and what a session takes, as Markdown. */
export async function measurePostgresScale(system, sizes, effort, progress) {
  const rows = [];
  await withServers(['postgres'], async (servers) => {
    const ports = portsOf(servers);
    for (const size of sizes) {
      progress(`${system.label}: ${size.toLocaleString('en')} sessions, filling`);
      await servers.postgres.empty();
      await fill(system, ports, size);
      const measured = [[], [], [], []];
      for (let r = 0; r < effort.rounds; r++) {
        await withPair(system, ports, effort, async ({ reference, subject }) => {
          const server = { port: subject.port, cpu: () => serverCpu(ports.postgresPort) };
          for (const [at, work] of [READ, COUNTER].entries()) {
            measured[at].push(...(await measureSlices({ reference, subject }, work, effort)));
            measured[at + 2].push(...(await measureSlices({ reference, subject: server }, work, effort)));
          }
        });
      }
      const cells = measured
        .map(summarize)
        .map(({ median, min, max }) => `${round(median)} (${round(min)}–${round(max)})`);
      rows.push([size.toLocaleString('en'), ...cells]);
      progress(rows.at(-1).join('  '));
    }
  });
  const head = [
    'sessions',
    ...['app', 'server'].flatMap((where) => [READ, COUNTER].map((work) => `${where}: ${work.title}`)),
  ];
  return `What a request costs the app and the server's processes for it among so many sessions in Postgres, in multiples of Koa without:

${table([head, ...rows])}

Bytes of one session of ten keys and 300 bytes, among ${Math.max(...sizes).toLocaleString('en')}:

${await measureRows(Math.max(...sizes), progress)}`;
}

/** Has the system store a session, and copies its row, a day longer valid, until there are so many. */
async function fill(system, ports, size) {
  const server = await startServer(system, ports);
  await withVisitors(server.port, FILL, 1, async ([visitor]) => visitor.visit());
  await server.stop();
  const [name, key, expiry, others] = TABLES[system.id];
  const later = system.id === 'postgres' ? '86400000' : "interval '1 day'";
  await query(
    ports.postgresPort,
    `INSERT INTO ${name} (${key}, ${expiry}, ${others})
     SELECT left(translate(rtrim(encode(sha256(i::text::bytea), 'base64'), '='), '+/', '-_'), length(${key})), ${expiry} + ${later}, ${others}
     FROM (SELECT * FROM ${name} LIMIT 1) AS one, generate_series(2, ${size}) AS i`,
  );
  await query(ports.postgresPort, 'VACUUM (ANALYZE)');
  await query(ports.postgresPort, 'CHECKPOINT');
}

/** Microseconds that the server's processes for clients have used so far. */
async function serverCpu(port) {
  const backends = await query(port, "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'");
  const ticks = backends.map(({ pid }) => {
    try {
      const [, , , , , , , , , , , user, system] = readFileSync(`/proc/${pid}/stat`, 'latin1')
        .split(') ')[1]
        .split(' ');
      return Number(user) + Number(system);
    } catch {
      return 0; // the process of this very question has ended
    }
  });
  return ticks.reduce((sum, one) => sum + one, 0) * 10_000;
}

async function measureRows(size, progress) {
  const rows = [['', 'row', 'its share of the indexes', 'together']];
  for (const system of SYSTEMS.filter(({ id }) => id in TABLES)) {
    progress(`${system.label}: bytes`);
    await withServers(['postgres'], async (servers) => {
      await fill(system, portsOf(servers), size);
      const [name] = TABLES[system.id];
      const [{ heap, indexes }] = await query(
        servers.postgres.port,
        `SELECT pg_table_size('${name}')::float8 AS heap, pg_indexes_size('${name}')::float8 AS indexes`,
      );
      const label = system.role === 'ours' ? `**${system.label}**` : system.label;
      rows.push([label, ...[heap, indexes, heap + indexes].map((bytes) => Math.round(bytes / size))]);
    });
  }
  return table(rows);
}
