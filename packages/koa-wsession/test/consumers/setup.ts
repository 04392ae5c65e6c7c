/*
 * The packages as an app gets them: packed, and installed into empty folders. `npm run test:consumers` runs these tests,
 * and `npm test` ends with them. Without a registry to install from, they are skipped.
 */
import { execFile } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';

const ROOT = fileURLToPath(new URL('../../../../', import.meta.url));
const FIXTURES = fileURLToPath(new URL('../../test/fixtures/consumer/', import.meta.url));
const NPM_INSTALL = ['i', '--no-audit', '--no-fund', '--silent', '--prefer-offline', '--legacy-peer-deps'];

/** TypeScript 5.4 can read @types/node 20, but not the newest. */
const COMMON = ['ioredis@6', '@types/node@20'];
const TOOLS = [
  ...['jest@30', 'vitest@4', 'ts-node@10', 'tsx@4', 'esbuild@0.28'],
  ...['typescript@5.9', 'ts54@npm:typescript@5.4', 'ts7@npm:typescript@7'],
];
const NEIGHBOURS = ['koa-session', 'koa-generic-session', 'koa-passport', 'koa-csrf'].map((name) => `@types/${name}`);

/** What a program printed, and whether it succeeded. */
export interface Result {
  readonly failed: boolean;
  readonly stdout: string;
  readonly output: string;
}

/** A folder in which our packages are installed. */
export class Consumer {
  readonly folder: string;

  constructor(folder: string) {
    this.folder = folder;
  }

  run(program: string, ...args: string[]): Promise<Result> {
    const env = { ...process.env, NO_COLOR: '1', NODE_OPTIONS: '' };
    return new Promise((resolve) => {
      execFile(program, args, { cwd: this.folder, env, maxBuffer: 2 ** 26 }, (error, stdout, stderr) =>
        resolve({ failed: error !== null, stdout: stdout.trim(), output: (stdout + stderr).trim() }),
      );
    });
  }

  /** Returns what the program wrote to its standard output; fails unless it succeeds. */
  async succeed(program: string, ...args: string[]): Promise<string> {
    const { failed, stdout, output } = await this.run(program, ...args);
    expect(failed, `${program} ${args.join(' ')}\n${output}`).to.equal(false);
    return stdout;
  }

  /** The path of a Node, by its major version. `undefined`: the registry hasn't got it. */
  async node(major: number): Promise<string | undefined> {
    const { failed, stdout } = await this.run('npx', '-y', `node@${major}`, '-p', 'process.execPath');
    return failed ? undefined : stdout;
  }
}

let temporary: string | undefined;
/** Koa 3, and the tools that load the packages. */
export let koa3: Consumer;
/** Koa 2. */
export let koa2: Consumer;
/** Every entry point of every package, such as `koa-wsession/memory`. */
const entryPoints: string[] = [];

before(async function () {
  const root = new Consumer(ROOT);
  const { failed, output } = await root.run('npm', 'view', 'node@24', 'version', '--fetch-retries', '0');
  if (failed) {
    console.log(`    skipped: no registry to install from\n${output}`);
    this.skip();
  }
  temporary = await mkdtemp(join(tmpdir(), 'consumers-'));
  const tarballs = await pack(root, temporary);
  [koa3, koa2] = await Promise.all([
    install(temporary, 'koa3', ...tarballs, ...COMMON, ...NEIGHBOURS, ...TOOLS, 'koa@3', '@types/koa@3'),
    install(temporary, 'koa2', ...tarballs, ...COMMON, ...NEIGHBOURS, 'koa@2.16', '@types/koa@2.15'),
  ]);
});

after(async () => {
  if (temporary) await rm(temporary, { recursive: true });
});

async function pack(root: Consumer, folder: string): Promise<string[]> {
  const workspaces: string[] = [];
  for (const directory of await readdir(join(ROOT, 'packages'))) {
    workspaces.push('-w', `packages/${directory}`);
    const manifest = JSON.parse(await readFile(join(ROOT, 'packages', directory, 'package.json'), 'utf8'));
    for (const entry of Object.keys(manifest.exports)) {
      if (entry !== './package.json') entryPoints.push(join(manifest.name, entry));
    }
  }
  const names = await root.succeed('npm', 'pack', '--silent', '--pack-destination', folder, ...workspaces);
  return names.split('\n').map((name) => join(folder, name));
}

async function install(folder: string, name: string, ...packages: string[]): Promise<Consumer> {
  const consumer = new Consumer(join(folder, name));
  await mkdir(consumer.folder);
  await writeFile(join(consumer.folder, 'package.json'), '{ "private": true }');
  await consumer.succeed('npm', ...NPM_INSTALL, ...packages);
  for (const file of await readdir(FIXTURES)) {
    await copyFile(join(FIXTURES, file), join(consumer.folder, file));
  }
  await writeFile(join(consumer.folder, 'entries.json'), JSON.stringify(entryPoints));
  const lines = entryPoints.map((entry, i) => `export * as entry${i} from '${entry}';\n`);
  await writeFile(join(consumer.folder, 'entries.ts'), lines.join(''));
  // One source, as a module of either kind.
  for (const name of ['counter', 'entries', 'typo']) {
    for (const kind of ['mts', 'cts']) {
      await copyFile(join(consumer.folder, `${name}.ts`), join(consumer.folder, `${name}.${kind}`));
    }
  }
  return consumer;
}
