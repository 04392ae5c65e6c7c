/*
 * Installs the packages that rows without `heavy` need: `npm run test:ecosystem` runs them, and `npm test` ends with it.
 * Without a registry to install from, the tests are skipped.
 */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

export const FOLDER = fileURLToPath(new URL('../', import.meta.url));

const npm = (...args) => promisify(execFile)('npm', args, { cwd: FOLDER, maxBuffer: 2 ** 26 });

before('installs the packages', async function () {
  this.timeout(300_000);
  if (await isInstalled()) return;
  try {
    await npm('view', 'koa', 'version', '--fetch-retries', '0');
  } catch (error) {
    console.log(`    skipped: no registry to install from\n${error.stderr}`);
    this.skip();
  }
  await npm('ci', '--omit=dev', '--ignore-scripts', '--no-audit', '--no-fund', '--no-workspaces');
});

/** Whether the packages are here in the lockfile's versions. */
async function isInstalled() {
  const read = async (path) => JSON.parse(await readFile(FOLDER + path, 'utf8')).packages;
  const installed = await read('node_modules/.package-lock.json').catch(() => ({}));
  const wanted = Object.entries(await read('package-lock.json'));
  return wanted.every(
    ([path, { dev, devOptional, optional, version }]) =>
      !path.startsWith('node_modules/') || dev || devOptional || optional || installed[path]?.version === version,
  );
}
