#!/usr/bin/env node
import { parseArgs } from 'node:util';
import { allocations } from './src/allocations.js';
import { compareBehaviour, writeComparison } from './src/behaviour.js';
import { leaveTheServersTheirCore, pinned } from './src/children.js';
import { countRequests } from './src/counts.js';
import { measureLatency } from './src/latency.js';
import { profile } from './src/profile.js';
import { FULL, measureRatios, QUICK } from './src/ratios.js';
import { countsTables, latencyTable, ratiosTable, tripsTable, writePart } from './src/report.js';
import { withServers } from './src/servers.js';
import { can, REFERENCE, SYSTEMS } from './src/systems.js';
import { canTrace } from './src/tally.js';
import { WORKS } from './src/works.js';

const HELP = `Usage: npm run bench -- [mode] [options]

Modes
  (none)             CPU per request, in multiples of Koa without sessions
  --latency          time per request, where the database server is a millisecond away
  --counts           round trips, commands, bytes and system calls per request
  --scale            cost and bytes with many sessions, in redis, fs and postgres
  --profile          where the CPU time goes: for one system and one work
  --allocations      how many bytes a request allocates, and how many stay: for one system and one work
  --behaviour        what is lost, restored or fails, for all systems with sessions

Options
  --quick            a few minutes instead of an hour; only for orientation
  --systems a,b      only these (--scale knows redis, fs and postgres): ${SYSTEMS.map(({ id }) => id).join(', ')}
  --works a,b        only these: ${WORKS.map(({ id }) => id).join(', ')}
  --sessions n,n     how many, for --scale (default 100,10000,1000000)
  --write            write docs/performance.md in any case; without it, only a whole run does
                     (with --behaviour: write docs/comparison.md)
  --help
`;

const { values: flags } = parseArgs({
  options: {
    latency: { type: 'boolean' },
    counts: { type: 'boolean' },
    scale: { type: 'boolean' },
    profile: { type: 'boolean' },
    allocations: { type: 'boolean' },
    behaviour: { type: 'boolean' },
    quick: { type: 'boolean' },
    systems: { type: 'string' },
    works: { type: 'string' },
    sessions: { type: 'string' },
    write: { type: 'boolean' },
    help: { type: 'boolean' },
  },
});

// So that folders and servers are removed.
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1));

const progress = (text) => console.error(text);

if (flags.help) {
  console.log(HELP);
} else {
  const modes = { latency, counts, scale, profile: one(profile), allocations: one(allocations), behaviour };
  const [mode] = Object.keys(modes).filter((name) => flags[name]);
  await (modes[mode] ?? ratios)({ systems: pick(SYSTEMS, flags.systems), works: pick(WORKS, flags.works) });
}

async function ratios(selection) {
  leaveTheServersTheirCore();
  if (!pinned) progress('Without taskset and a second core, servers share theirs: the range will be wide.');
  const effort = flags.quick ? QUICK : FULL;
  const { cells, failures } = await measureRatios(selection, effort, progress);
  console.log(ratiosTable(cells));
  await finish('ratios', failures, cells, effort);
}

async function latency({ systems, works }) {
  leaveTheServersTheirCore();
  const selected = flags.works ? works : works.filter(({ id }) => ['untouched', 'read', 'counter'].includes(id));
  const requests = flags.quick ? 300 : 2000;
  const measured = { requests, ...(await measureLatency({ systems, works: selected }, requests, progress)) };
  console.log(latencyTable(measured));
  await finish('latency', [], measured);
}

async function counts({ systems, works }) {
  if (!canTrace) progress('strace is missing or may not attach: system calls are not counted.');
  const results = [];
  const failures = [];
  const kinds = systems.map(({ kind }) => kind);
  await withServers(kinds, async (servers) => {
    for (const system of flags.systems ? systems : [REFERENCE, ...systems]) {
      progress(system.label);
      for (const work of works.filter((work) => can(system, work))) {
        try {
          results.push(await countRequests(system, work, servers));
        } catch (error) {
          failures.push(`${system.label}, ${work.title}: ${error.message}`);
        }
      }
    }
  });
  console.log([tripsTable(results), ...countsTables(results)].join('\n\n'));
  await finish('counts', failures, results);
}

async function scale({ systems }) {
  leaveTheServersTheirCore();
  const { measureScale, SIZES } = await import('./src/scale.js');
  const sizes = flags.sessions?.split(',').map(Number) ?? SIZES;
  const text = await measureScale(systems, sizes, progress);
  console.log(text);
  await finish('scale', [], text);
}

/** A mode for one system at one work. */
function one(measure) {
  return async ({ systems: [system], works: [work] }) => {
    if (!flags.systems || !flags.works) throw new Error('This mode needs --systems and --works, one each.');
    leaveTheServersTheirCore();
    console.log(await measure(system, work));
  };
}

async function behaviour({ systems }) {
  const tables = await compareBehaviour(systems, progress);
  console.log(tables);
  if (!flags.write) return;
  await writeComparison(tables);
  console.error('Written to docs/comparison.md.');
}

/** Writes the page after a run over everything without failures, or with --write. */
async function finish(part, failures, ...results) {
  for (const failure of failures) console.error(`FAILED  ${failure}`);
  if (failures.length > 0) process.exitCode = 1;
  const whole = !flags.quick && !flags.systems && !flags.works && !flags.sessions && failures.length === 0;
  if (!whole && !flags.write) return;
  await writePart(part, ...results);
  console.error('Written to docs/performance.md.');
}

function pick(all, ids) {
  if (ids === undefined) return all;
  return ids.split(',').map((id) => {
    const found = all.find((one) => one.id === id);
    if (!found) throw new Error(`Unknown "${id}": expected one of ${all.map(({ id }) => id).join(', ')}.`);
    return found;
  });
}
