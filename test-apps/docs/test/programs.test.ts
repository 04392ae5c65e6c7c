import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { type Block, isCode, ROOT, readDocuments } from 'docs/markdown';
import { has, itWith } from 'testkit/programs';
import { type RedisServer, startRedis } from 'testkit/redis';
import ts from 'typescript';

const documents = readDocuments();

describe('The programs in the documents', () => {
  let redis: RedisServer | undefined;
  before(async () => {
    if (has('redis-server')) redis = await startRedis();
  });
  after(() => redis?.stop());

  it('are all that a console stands behind', () => {
    const isMisplaced = ({ language }: Block, index: number, blocks: readonly Block[]) =>
      language === 'console' && !isProgram(blocks.slice(0, index).findLast(isCode));
    for (const { path, blocks } of documents) expect(blocks.filter(isMisplaced), path).to.deep.equal([]);
  });

  for (const { path, blocks } of documents) {
    for (const [index, block] of blocks.entries()) {
      if (!isProgram(block)) continue;
      const shown = blocks.slice(index + 1).find((it) => it.language === 'console' || isProgram(it));
      itWith(needsOf(block), `run: ${path}:${block.line}`, () => run(block, shown));
    }
  }

  const [counter, shown, ...others] = documents
    .flatMap(({ path, blocks }) => (path === 'README.md' ? blocks : []))
    .filter(({ language, code }) => language === 'console' || code.includes('app.use(session(new '));
  for (const { line, code } of others) {
    const other = (counter as Block).code.replace(/^app\.use\(session.*$/m, code);
    const block = { ...(counter as Block), code: other };
    const title = `run: README.md:${line}, in place of the line in the counter`;
    itWith(needsOf(block), title, () => run(block, shown));
  }

  function run(program: Block, shown: Block | undefined): Promise<void> {
    return runProgram(program, shown?.language === 'console' ? shown.code : '', {
      REDIS_URL: redis?.url,
      SESSION_SECRET: 'a secret of the documents, of 32 bytes or more',
    });
  }
});

function needsOf({ code }: Block): string[] {
  return /ioredis|'redis'/.test(code) ? ['curl', 'redis-server'] : ['curl'];
}

/** What is whole: it serves, or it is a test. The rest is pieces. */
function isProgram(block: Block | undefined): boolean {
  return block !== undefined && isCode(block) && /\.listen\(\d{4}|from 'node:test'/.test(block.code);
}

/** Runs a program as it is, and then what the console shows, which has to answer the same; `…` stands for anything. */
async function runProgram({ language, code }: Block, session: string, env: NodeJS.ProcessEnv): Promise<void> {
  const cwd = mkdtempSync(`${ROOT}test-apps/docs/.test/run-`);
  writeFileSync(
    `${cwd}/app.mjs`,
    language === 'js'
      ? code
      : ts.transpile(code, { target: ts.ScriptTarget.ES2023, module: ts.ModuleKind.ESNext }),
  );
  const anyPort = fileURLToPath(new URL('../test/fixtures/any-port.mjs', import.meta.url));
  const app = spawn(process.execPath, ['--import', anyPort, 'app.mjs'], {
    ...{ cwd, env: { ...process.env, NODE_ENV: '', ...env }, stdio: ['ignore', 'pipe', 'pipe', 'ipc'] },
  });
  let output = '';
  for (const stream of [app.stdout, app.stderr]) stream?.on('data', (text) => (output += text));
  const exit = once(app, 'close');
  try {
    if (code.includes("from 'node:test'")) return void expect((await exit)[0], output).to.equal(0);
    const [ports] = (await Promise.race([once(app, 'message'), exit])) as [Ports | number | null];
    if (typeof ports !== 'object' || ports === null) throw new Error(`It ended: ${output}`);
    const steps = session.split(/^\$ /m).slice(1);
    expect(steps, 'what the console shows').not.to.be.empty;
    for (const step of steps) {
      const [command = '', ...shown] = step.split('\n');
      const asked = command.replaceAll(`localhost:${ports.port}`, `localhost:${ports.actual}`);
      const { stdout } = await promisify(execFile)('bash', ['-c', `${asked}\ntrue`], { cwd });
      const pattern = shown.join('\n').trimEnd().split('…').map(escapeForRegExp).join('.*');
      expect(stdout.replaceAll('\r', '').trimEnd(), `${command}\n${output}`).to.match(
        new RegExp(`^${pattern}$`),
      );
    }
  } finally {
    app.kill('SIGKILL');
    await exit;
    rmSync(cwd, { recursive: true });
  }
}

/** A port that a program asked for, and the one that it got. */
interface Ports {
  readonly port: number;
  readonly actual: number;
}

function escapeForRegExp(text: string): string {
  return text.replaceAll(/[\\^$.*+?()[\]{}|]/g, '\\$&');
}
