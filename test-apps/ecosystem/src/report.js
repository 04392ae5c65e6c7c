import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

const PAGE = fileURLToPath(new URL('../../../docs/ecosystem.md', import.meta.url));
const MANIFEST = new URL('../package.json', import.meta.url);
const SYSTEMS = { files: 'files', cookies: 'cookies', redis: 'Redis' };

const INTRO = `# Packages that it works with

Each row is a [small program](../test-apps/ecosystem/src/rows) that uses a package as its README says, over real HTTP: with
sessions in files, cookies and Redis, and with koa-session KOA_SESSION for comparison. The page is written by

\`\`\`sh
npm run ecosystem
\`\`\`

which fails where an outcome isn't the one in [the table](../test-apps/ecosystem/src/rows.js). "yes" under koa-wsession
stands for all three stores. Downloads are a month's, from npm, by order of magnitude: "1 M" is 1 to 10 million.

koa-session runs twice: with its data in the cookie, which is its default, and with a store of its own (\`store\`, which keeps
JSON on the server). Under koa-session, "yes" stands for both; "with a store" says that it works only so, and the remark says
why it doesn't in cookies. A "no" says what apps that move over gain there, not that koa-session does something other than it
documents.`;

/** Writes docs/ecosystem.md: the table of rows, all of which came out as it says. */
export async function writeReport(rows) {
  const { dependencies, devDependencies } = JSON.parse(await readFile(MANIFEST, 'utf8'));
  const versions = { ...dependencies, ...devDependencies };
  const parts = [INTRO.replace('KOA_SESSION', versions['koa-session'])];
  for (const [group, members] of groupBy(rows)) {
    parts.push(`## ${group}`, table(members, versions));
  }
  await writeFile(PAGE, `${parts.join('\n\n')}\n`);
}

function table(rows, versions) {
  let before = '';
  const lines = rows.map((row) => {
    const did = row.did === before ? 'the same' : row.did;
    before = row.did;
    const cells = [nameOf(row, versions), row.downloads, did, oursOf(row), theirsOf(row), remarkOf(row)];
    return `| ${cells.join(' | ')} |`;
  });
  const head = '| Package | Downloads | What the program does | koa-wsession | koa-session | Remark |';
  return [head, '|---|---|---|---|---|---|', ...lines].join('\n');
}

function nameOf(row, versions) {
  const names = row.package.split(', ').map((name) => {
    const version = versions[name];
    if (!version) return name; // Node's own
    return version.startsWith('npm:') ? version.slice('npm:'.length).replace('@', ' ') : `${name} ${version}`;
  });
  return names.join(', ');
}

function oursOf({ ours = {} }) {
  const working = Object.keys(SYSTEMS).filter((id) => !ours[id]);
  return working.length === 3 ? 'yes' : working.map((id) => SYSTEMS[id]).join(', ');
}

function theirsOf({ koaSession, koaSessionStore }) {
  if (!koaSession) return 'yes';
  return koaSessionStore === 'works' ? 'with a store' : 'no';
}

function remarkOf({ ours = {}, koaSession, koaSessionStore, remark }) {
  const known = Object.entries(ours).map(([id, { why }]) => `${SYSTEMS[id]}: ${why}`);
  const reasons = [koaSession?.why, koaSessionStore?.why];
  const theirs = [...new Set(reasons)].filter(Boolean).join('; ');
  return [remark, ...known, theirs && `koa-session: ${theirs}`].filter(Boolean).join('; ');
}

/** Rows by group; Node 20 has no `Map.groupBy`. */
function groupBy(rows) {
  const groups = new Map();
  for (const row of rows) groups.set(row.group, [...(groups.get(row.group) ?? []), row]);
  return groups;
}
