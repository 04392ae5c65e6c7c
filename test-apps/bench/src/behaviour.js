import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { SCENARIOS } from './behaviour/scenarios.js';
import { startServer, withDirectory } from './children.js';
import { table } from './report.js';
import { portsOf, withServers } from './servers.js';

const PAGE = fileURLToPath(new URL('../../../docs/comparison.md', import.meta.url));

/** Runs every scenario with every system that has sessions. Returns the tables as one text. */
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

/** Each system gets a server of its own, if it needs one, a folder and a process. */
function tryOut(system) {
  return withServers([system.kind], (servers) =>
    withDirectory(async (directory) => {
      const child = await startServer(
        { ...system, id: 'behaviour' },
        { of: system.id, ...portsOf(servers), directory },
      );
      try {
        const trial = { system, url: `http://127.0.0.1:${child.port}`, directory, database: servers[system.kind] };
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
    `# Comparison

What session libraries do in the same situations. Each is an app in a process of its own, and is observed over HTTP. This
page is written by

\`\`\`sh
npm run bench -- --behaviour --write
\`\`\`

Each library is set up [as its README says](../test-apps/bench/src/systems/behaviour.js), with required options only; other
options change some of these results. All apps do [the same](../test-apps/bench/src/behaviour/handlers.js);
[the scenarios](../test-apps/bench/src/behaviour/scenarios.js) say what counts.

Libraries that keep the data itself in the cookie can't merge, and can't revoke a copy of a cookie. Ours remembers ended
sessions within one process. iron-session saves where the handler says so, here before it responds or throws; on Koa, an
error removes its header.

Node ${process.version}, ${versions.join(', ')}.

${tables}
`,
  );
}
