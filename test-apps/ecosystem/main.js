#!/usr/bin/env node
import { parseArgs } from 'node:util';
import { writeReport } from './src/report.js';
import { ROWS } from './src/rows.js';
import { mismatch, runRow } from './src/runner.js';
import { openSystem, SYSTEM_IDS } from './src/systems.js';

const HELP = `Usage: npm run ecosystem -- [options]

Runs real packages with koa-wsession on files, cookies and Redis, and with koa-session, and writes docs/ecosystem.md.

Options
  --rows a,b         only rows whose package or program contains one of these words
  --systems a,b      only these: ${SYSTEM_IDS.join(', ')}
  --light            only the rows that run in CI
  --help
`;

const { values: flags } = parseArgs({
  options: {
    rows: { type: 'string' },
    systems: { type: 'string' },
    light: { type: 'boolean' },
    help: { type: 'boolean' },
  },
});

if (flags.help) console.log(HELP);
else await main();
process.exit(); // some packages keep timers

async function main() {
  const words = flags.rows?.split(',');
  const matches = ({ package: name, module }) =>
    words?.some((word) => name.includes(word) || module.includes(word)) ?? true;
  const rows = ROWS.filter((row) => matches(row) && !(flags.light && row.heavy));
  const ids = flags.systems?.split(',') ?? SYSTEM_IDS;
  if (rows.length === 0 || ids.some((id) => !SYSTEM_IDS.includes(id))) throw new Error(HELP);

  const systems = await Promise.all(ids.map(openSystem));
  let failures = 0;
  for (const row of rows) {
    const cells = [];
    for (const system of systems) {
      const failure = await runRow(row, system);
      const problem = mismatch(row, system, failure);
      cells.push(`${system.id} ${problem ? 'FAILED' : failure ? 'no' : 'ok'}`);
      if (!problem) continue;
      failures += 1;
      console.error(`${row.module}, ${system.id}: ${problem.stack.split('\n').slice(0, 6).join('\n')}`);
    }
    console.log(`${row.module.padEnd(34)} ${row.package.padEnd(28)} ${cells.join(', ')}`);
  }
  await Promise.all(systems.map((system) => system.close()));
  if (failures > 0) {
    console.error(`${failures} failed.`);
    process.exitCode = 1;
  } else if (!flags.rows && !flags.systems && !flags.light) {
    await writeReport(ROWS);
    console.error('Written to docs/ecosystem.md.');
  }
}
