import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { ratiosChart } from './chart.js';
import { DELAY } from './latency.js';
import { round } from './round.js';
import { REFERENCE, SYSTEMS } from './systems.js';
import { WORKS } from './works.js';

const PAGE = fileURLToPath(new URL('../../../docs/performance.md', import.meta.url));
const CHART = fileURLToPath(new URL('../../../docs/performance.svg', import.meta.url));

const KINDS = {
  cookie: 'In the cookie',
  redis: 'In Redis',
  postgres: 'In Postgres',
  file: 'In files',
  memory: 'In memory',
  bare: 'No sessions',
};

/** A Markdown table of systems and works; systems are grouped by where they keep sessions. */
function matrix(systems, works, cellOf) {
  const rows = [['', ...works.map(({ title }) => title)]];
  for (const [kind, title] of Object.entries(KINDS)) {
    const ofKind = systems.filter((system) => system.kind === kind);
    if (ofKind.length > 0) rows.push([`**${title}**`, ...works.map(() => '')]);
    for (const system of ofKind) {
      const label = system.role === 'ours' ? `**${system.label}**` : system.label;
      rows.push([label, ...works.map((work) => cellOf(system, work) ?? '-')]);
    }
  }
  return table(rows);
}

/** An aligned Markdown table. The first column is text, the others are numbers. */
export function table(rows) {
  const widths = rows[0].map((_, column) => Math.max(3, ...rows.map((row) => String(row[column]).length)));
  const format = (row) =>
    `| ${row.map((cell, column) => (column === 0 ? String(cell).padEnd(widths[column]) : String(cell).padStart(widths[column]))).join(' | ')} |`;
  const rule = `|${widths.map((width, column) => (column === 0 ? '-'.repeat(width + 2) : `${'-'.repeat(width + 1)}:`)).join('|')}|`;
  return [format(rows[0]), rule, ...rows.slice(1).map(format)].join('\n');
}

const involved = (results, all, key) => all.filter(({ id }) => results.some((result) => result[key] === id));

/** @param {import('./ratios.js').Cell[]} cells */
export function ratiosTable(cells) {
  const find = (system, work) => cells.find((cell) => cell.system === system.id && cell.work === work.id);
  return matrix(involved(cells, SYSTEMS, 'system'), involved(cells, WORKS, 'work'), (system, work) => {
    const cell = find(system, work);
    return cell && `${round(cell.median)} (${round(cell.min)}–${round(cell.max)})`;
  });
}

export function latencyTable({ latencies }) {
  const systems = involved(latencies, [...SYSTEMS, REFERENCE], 'system');
  return matrix(systems, involved(latencies, WORKS, 'work'), (system, work) => {
    const found = latencies.find((one) => one.system === system.id && one.work === work.id);
    return found && percentiles(found);
  });
}

const percentiles = ({ p50, p99 }) => `${p50.toFixed(1)} / ${p99.toFixed(1)}`;

/** @param {import('./counts.js').Count[]} counts */
export function tripsTable(counts) {
  const counted = counts.filter(({ traffic }) => traffic);
  const find = (system, work) => counted.find((count) => count.system === system.id && count.work === work.id);
  return matrix(involved(counted, SYSTEMS, 'system'), involved(counted, WORKS, 'work'), (system, work) =>
    find(system, work)?.traffic.trips.toFixed(1).replace(/\.0$/, ''),
  );
}

/** @param {import('./counts.js').Count[]} counts */
export function countsTables(counts) {
  const systems = involved(counts, [REFERENCE, ...SYSTEMS], 'system');
  return involved(counts, WORKS, 'work').map(({ id, title }) => {
    const of = (system) => counts.find((count) => count.system === system.id && count.work === id);
    const number = (value) => (value === undefined ? '?' : Number(value.toFixed(1)));
    const rows = systems.flatMap((system) => {
      const count = of(system);
      if (!count) return [];
      const label = system.role === 'ours' ? `**${system.label}**` : system.label;
      const { cookieBytes, setCookieBytes, traffic, calls } = count;
      const passed = traffic
        ? [traffic.commands, traffic.bytesSent, traffic.bytesReceived].map(number)
        : ['-', '-', '-'];
      const called = [calls?.files, calls?.sockets].map(number);
      return [[label, number(cookieBytes), number(setCookieBytes), ...passed, ...called]];
    });
    const head = ['', 'Cookie', 'Set-Cookie', 'commands', 'bytes to', 'bytes from', 'file calls', 'socket calls'];
    return `### ${title[0].toUpperCase()}${title.slice(1)}\n\n${table([head, ...rows])}`;
  });
}

/** The parts of the page, in order; each mode of the tool writes its own part. */
const PARTS = ['ratios', 'latency', 'counts', 'scale'];

const texts = {
  ratios: (cells, effort) => `## CPU per request

In multiples of what a request costs Koa without sessions. Median (lowest–highest) of ${effort.rounds * effort.slices} slices:
${effort.rounds} rounds with fresh processes, ${effort.slices} slices each. In a slice, the system and Koa without sessions are under load at
the same time, by ${effort.visitors} visitors each, on one core that only they use; what is compared is the CPU time of their
processes per request. A session has ten keys and 300 bytes, unless the work says otherwise. Each answer is checked, and
in the end what was written is read back. *The least* is the minimum that such sessions need: see the
[code](../test-apps/bench/src/systems).

![Bars: the same numbers](performance.svg)

${ratiosTable(cells)}`,

  latency: (measured) => `## Latency

Milliseconds that a request takes where the database server is ${DELAY} ms away (a proxy holds back its replies): the median and
the 99th percentile of ${measured.requests} requests. One request at a time, and the systems take turns. What sessions add is the
difference to Koa or Express without them. A bare \`PING\` of Redis took ${percentiles(measured.roundTrip)} ms on the same way.

${latencyTable(measured)}`,

  counts: (counts) => `## Counts per request

These are the same in each run.

### Round trips

How often a request waits for the database server.

${tripsTable(counts)}

With the near cache, these are those of a visitor whose requests come within its \`maxAge\` on one process. Besides, the
process sends a \`PING\` three times in that time, and gets an announcement of some 120 bytes for each change.

In what follows, bytes are those of the headers' values, and of what goes over the connections to Redis or Postgres.
A command to Redis may be a script that has others run; a command to Postgres is a statement. System calls on files and
on sockets are counted without those that only wait.

${countsTables(counts).join('\n\n')}`,

  scale: (tables) => `## Many sessions

${tables}`,
};

/** Writes one part of docs/performance.md, and leaves the introduction and the other parts as they are. */
export async function writePart(part, ...results) {
  const old = await readFile(PAGE, 'utf8');
  const [introduction] = old.split(/^<!-- \w+ -->$/m, 1);
  const kept = (name) => {
    const [, text] = old.split(`<!-- ${name} -->\n`);
    return text?.trim();
  };
  const written = PARTS.map((name) => [name, name === part ? texts[part](...results) : kept(name)]);
  const parts = written.filter(([, text]) => text);
  // A part stands between two of its marks.
  const body = parts.map(([name, text]) => `<!-- ${name} -->\n\n${text}\n\n<!-- ${name} -->\n`).join('\n');
  await writeFile(PAGE, `${introduction.trimEnd()}\n\n${body}`);
  if (part === 'ratios') await writeFile(CHART, ratiosChart(results[0]));
}
