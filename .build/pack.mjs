// Writes the packages as tarballs, and prints the commands that install them: `npm run pack`, or `npm run pack -- FOLDER`.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '..');
const folder = resolve(process.env.INIT_CWD ?? '.', process.argv[2] ?? join(root, 'tarballs'));
const packages = readdirSync(`${root}/packages`).map((name) => `packages/${name}`);

run(process.execPath, 'node_modules/@typescript/native/bin/tsc', '-b', ...packages);
mkdirSync(folder, { recursive: true });
const workspaces = packages.flatMap((name) => ['-w', name]);
const packed = JSON.parse(
  run(process.execPath, process.env.npm_execpath, 'pack', ...workspaces, '--pack-destination', folder, '--json'),
);
const files = Object.values(packed).map(({ filename }) => join(folder, filename));

const [core] = files.filter((file) => /koa-wsession-\d/.test(file));
console.log("\nInstall a store with the core, in your app's folder:\n");
for (const store of files.filter((file) => file !== core)) console.log(`npm install koa ${core} ${store}`);

function run(...command) {
  const [program, ...args] = command;
  return execFileSync(program, args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
}
