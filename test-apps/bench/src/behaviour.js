import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { SCENARIOS } from './behaviour/scenarios.js';
import { startServer, withDirectory } from './children.js';
import { withRedis } from './redis.js';
import { table } from './report.js';

const PAGE = fileURLToPath(new URL('../../../docs/comparison.md', import.meta.url));

/** Runs every scenario with every system that has sessions; answers the tables as one text. */
export async function compareBehaviour(systems, progress) {
  const compared = systems.filter(({ kind, role }) => kind !== 'bare' && role !== 'floor');
  const outcomes = new Map();
  for (const system of compared) {
    progress(system.label);
    outcomes.set(system, await tryOut(system));
  }
  return SCENARIOS.map(({ title, about, columns }, index) => {
    const rows = compared.map((system) => {
      const label = system.role === 'ours' ? `**${system.label}**` : system.label;
      return [label, ...outcomes.get(system)[index]];
    });
    return `## ${title}\n\n${about}\n\n${table([['', ...columns], ...rows])}`;
  }).join('\n\n');
}

/** Each system has a Redis, a folder and a process of its own. */
function tryOut(system) {
  return withRedis((redis) =>
    withDirectory(async (directory) => {
      redis.client.on('error', () => {}); // it gets killed
      const child = await startServer(
        { ...system, id: 'behaviour' },
        { of: system.id, redisPort: redis.port, directory },
      );
      try {
        const trial = { system, url: `http://127.0.0.1:${child.port}`, directory, redis };
        const cells = [];
        for (const { run } of SCENARIOS) cells.push(await run(trial));
        return cells;
      } finally {
        await child.stop();
      }
    }),
  );
}

/** Writes docs/comparison.md. */
export async function writeComparison(tables) {
  const { dependencies } = JSON.parse(await readFile(new URL('../package.json', import.meta.url), 'utf8'));
  const versions = Object.entries(dependencies)
    .filter(([, version]) => !version.startsWith('file:'))
    .map(([name, version]) => `${name} ${version}`);
  await writeFile(
    PAGE,
    `# How it behaves beside others

What session libraries do, seen from outside: each is an app in a process of its own, asked over HTTP. The whole page is
written by

\`\`\`sh
npm run bench -- --behaviour --write
\`\`\`

Each system is set up [as its README says](../test-apps/bench/src/systems/behaviour.js), with no options but those that it
must have; options exist that change some of these answers. The apps all do
[the same](../test-apps/bench/src/behaviour/handlers.js). What is asked and what counts is in
[the scenarios](../test-apps/bench/src/behaviour/scenarios.js).

Whoever keeps the data itself in the cookie can't merge, and can't take back a copy of a cookie that was made before: that
is so for every store of this kind. Ours remembers within one process the sessions that ended; several processes don't tell
each other. iron-session saves when the handler says so, here before it answers or throws; it stands on Koa here, which
removes all headers on an error.

Node ${process.version}, ${versions.join(', ')}.

${tables}
`,
  );
}
