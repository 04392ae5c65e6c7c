import { run, type Tally } from './run.js';

const { servers, failover, killed } = await run(Number(process.env.VISITORS ?? 24), { failover: true });

const tallies = failover ? [servers, failover] : [servers];
const statuses = new Set(tallies.flatMap(({ answers }) => Object.keys(answers)));
const rows: Array<[what: string, of: (tally: Tally) => number]> = [
  ['requests', ({ requests }) => requests],
  ...[...statuses]
    .sort()
    .map((status): [string, (tally: Tally) => number] => [
      `status ${status}`,
      ({ answers }) => answers[Number(status)] ?? 0,
    ]),
  ['of which cut by kill -9 of their server', ({ cut }) => cut[killed] ?? 0],
  ['retried by the proxy', ({ retried }) => retried],
  ['sessions', ({ sessions }) => sessions],
  ['sessions lost', ({ sessionsLost }) => sessionsLost],
  ['acknowledged updates', ({ updates }) => updates],
  ['acknowledged updates lost', ({ updatesLost }) => updatesLost],
];
console.log('| | four servers restarted, one killed | a Redis master killed |\n|---|---|---|');
for (const [what, of] of rows) console.log(`| ${what} | ${tallies.map(of).join(' | ')} |`);
