/*
 * The four packages, packed and installed into empty folders as anybody would: `npm run test:consumers`, with which
 * `npm test` ends. Without a registry to install from, it is skipped.
 */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { Client, has, type RedisServer, startRedis } from 'testkit';

const PACKAGES = ['koa-wsession', 'store-cookie', 'store-fs', 'store-redis'];
const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const FIXTURES = fileURLToPath(new URL('../test/fixtures/consumer/', import.meta.url));

/** What stands beside our packages. TypeScript 5.4 can read @types/node 20, but not the newest. */
const KOAS = [
  ['koa@2.16', '@types/koa@2.15'],
  ['koa@3', '@types/koa@3'],
] as const;
const NODE_TYPES = '@types/node@20';
const COMPILERS = ['typescript@5.4', 'typescript@latest'];
const NODES = ['node@20', 'node@22', 'node@24'];
const STORES = ['memory', 'cookie', 'fs', 'redis'];

/** What a program prints, and whether it succeeded. */
function run(cwd: string, program: string, ...args: string[]): Promise<{ failed: boolean; output: string }> {
  return new Promise((resolve) => {
    execFile(program, args, { cwd, maxBuffer: 2 ** 26 }, (error, stdout, stderr) =>
      resolve({ failed: error !== null, output: (stdout + stderr).trim() }),
    );
  });
}

async function succeed(cwd: string, program: string, ...args: string[]): Promise<string> {
  const { failed, output } = await run(cwd, program, ...args);
  expect(failed, `${program} ${args.join(' ')}\n${output}`).to.equal(false);
  return output;
}

describe('the packages, packed and installed', () => {
  let folder: string;
  let tarballs: string[];
  let redis: RedisServer | undefined;

  before(async function () {
    const { failed, output } = await run(ROOT, 'npm', 'view', 'node@24', 'version', '--fetch-retries', '0');
    if (failed) {
      console.log(`    skipped: no registry to install from\n${output}`);
      this.skip();
    }
    folder = await mkdtemp(join(tmpdir(), 'consumers-'));
    const workspaces = PACKAGES.flatMap((name) => ['-w', `packages/${name}`]);
    const packed = await succeed(
      ROOT,
      'npm',
      'pack',
      '--silent',
      '--pack-destination',
      folder,
      ...workspaces,
    );
    tarballs = packed.split('\n').map((name) => join(folder, name));
    expect(tarballs).to.have.length(PACKAGES.length);
    if (has('redis-server')) redis = await startRedis();
  });
  after(async () => {
    await redis?.stop();
    if (folder) await rm(folder, { recursive: true });
  });

  /** A folder with our packages and these. */
  async function install(...packages: string[]): Promise<string> {
    const home = await mkdtemp(join(folder, 'app-'));
    await writeFile(join(home, 'package.json'), '{ "private": true }');
    await succeed(
      home,
      'npm',
      'i',
      '--no-audit',
      '--no-fund',
      '--silent',
      ...tarballs,
      'ioredis@6',
      ...packages,
    );
    for (const name of ['counter.mjs', 'typed.mts', 'typo.mts'])
      await copyFile(join(FIXTURES, name), join(home, name));
    const koa = JSON.parse(await readFile(join(home, 'node_modules/koa/package.json'), 'utf8'));
    console.log(`        koa ${koa.version}`);
    return home;
  }

  for (const [koa, types] of KOAS) {
    describe(`with ${koa}`, () => {
      for (const compiler of COMPILERS) {
        it(`compile with ${compiler}, ${types} and ${NODE_TYPES}, and a typo does not`, async () => {
          const home = await install(koa, types, NODE_TYPES);
          const compile = (file: string) => {
            const strict = ['--strict', '--exactOptionalPropertyTypes', '--noUncheckedIndexedAccess'];
            const modern = ['--target', 'es2022', '--module', 'nodenext', '--types', 'node', '--noEmit'];
            return run(
              home,
              'npx',
              '-y',
              '-p',
              compiler,
              'tsc',
              ...strict,
              ...modern,
              '--pretty',
              'false',
              file,
            );
          };
          console.log(`        ${await succeed(home, 'npx', '-y', '-p', compiler, 'tsc', '--version')}`);
          expect(await compile('typed.mts')).to.deep.equal({ failed: false, output: '' });
          const { failed, output } = await compile('typo.mts');
          expect(failed).to.equal(true);
          expect(output).to.match(
            /^typo\.mts\(5,15\): error TS2551: Property 'countr' does not exist [^\n]*$/,
          );
        });
      }

      describe('count', () => {
        let home: string;
        before(async () => {
          home = await install(koa);
        });

        for (const node of NODES) {
          for (const store of STORES) {
            it(`under ${node} on ${store}`, async function () {
              if (store === 'redis' && !redis) return this.skip();
              const program = await succeed(home, 'npx', '-y', node, '-p', 'process.execPath');
              const place = join(home, `${node}-sessions`);
              await mkdir(place, { recursive: true });
              const app = spawn(
                program,
                ['counter.mjs', store, store === 'redis' ? String(redis?.port) : place],
                { cwd: home, stdio: ['ignore', 'pipe', 'inherit'] },
              );
              const exited = once(app, 'exit');
              try {
                const { value: line = '' } = await createInterface(app.stdout)[Symbol.asyncIterator]().next();
                const [port, version] = line.split(' ');
                console.log(`        ${version}`);
                expect(version).to.match(new RegExp(`^v${node.slice('node@'.length)}\\.`));
                const ada = new Client(`http://127.0.0.1:${port}`);
                const counts = [await ada.get(), await ada.get(), await ada.get()].map(({ body }) => body);
                expect(counts).to.deep.equal(['1', '2', '3']);
              } finally {
                app.kill('SIGKILL');
                await exited;
              }
            });
          }
        }
      });
    });
  }
});
