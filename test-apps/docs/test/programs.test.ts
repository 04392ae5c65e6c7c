import { expect } from 'chai';
import { type Block, isCode, missingIn, readDocuments } from 'docs/markdown';
import { runToEnd, whileRunning } from 'docs/run-program';
import { needsPostgres, type PostgresServer, startPostgres } from 'testkit/postgres';
import { has, itWith } from 'testkit/programs';
import { type RedisServer, startRedis } from 'testkit/redis';

const documents = readDocuments();

describe('The programs in the documents', () => {
  let redis: RedisServer | undefined;
  let postgres: PostgresServer | undefined;
  before(async function () {
    this.timeout(60_000);
    if (has('redis-server')) redis = await startRedis();
    if (needsPostgres.length === 0) postgres = await startPostgres();
  });
  after(async () => {
    await redis?.stop();
    await postgres?.stop();
  });

  it('come before each console', () => {
    const isMisplaced = ({ language }: Block, index: number, blocks: readonly Block[]) =>
      language === 'console' && !isProgram(blocks.slice(0, index).findLast(isCode));
    for (const { path, blocks } of documents) expect(blocks.filter(isMisplaced), path).to.deep.equal([]);
  });

  for (const { path, blocks } of documents) {
    for (const [index, block] of blocks.entries()) {
      if (!isProgram(block)) continue;
      const shown = blocks.slice(index + 1).find((next) => next.language === 'console' || isProgram(next));
      itRuns(block, `run: ${path}:${block.line}`, () => run(block, shown));
    }
  }

  // The README shows other stores as another line of its first program.
  const blocks = documents.find(({ path }) => path === 'README.md')?.blocks ?? [];
  const counter = blocks.find(isProgram) as Block;
  const shown = blocks.find(({ language }) => language === 'console');
  for (const other of blocks.filter((block) => !isProgram(block) && block.code.includes('app.use(session('))) {
    const block = { ...counter, code: counter.code.replace(/^app\.use\(session.*$/m, other.code) };
    itRuns(block, `run: README.md:${other.line}, in place of the line in the counter`, () => run(block, shown));
  }

  async function run(program: Block, shown: Block | undefined): Promise<void> {
    if (isTest(program)) {
      const { status, output } = await runToEnd(program);
      expect(status, output).to.equal(0);
      return;
    }
    const env = {
      REDIS_URL: redis?.url,
      DATABASE_URL: postgres?.url,
      SESSION_SECRET: 'a secret of the documents, of 32 bytes or more',
    };
    const steps = shown?.language === 'console' ? shown.code.split(/^\$ /m).slice(1) : [];
    expect(steps, 'the console').not.to.be.empty;
    await whileRunning(program, env, async ({ run, output }) => {
      for (const step of steps) {
        const [command = '', ...lines] = step.split('\n');
        const pattern = lines.join('\n').trimEnd().split('…').map(escapeForRegExp).join('.*');
        const answer = (await run(command)).trimEnd();
        expect(answer, `${command}\n${output()}`).to.match(new RegExp(`^${pattern}$`));
      }
    });
  }
});

/** A test of a program, skipped where a package or a server is missing. */
function itRuns(program: Block, title: string, test: () => Promise<void>): void {
  const { code } = program;
  const missing = missingIn(program);
  if (missing.length > 0) it.skip(`${title} (needs ${missing.join(' and ')}, which is not installed)`);
  else {
    const servers = [
      ...(/ioredis|'redis'/.test(code) ? ['redis-server'] : []),
      ...(/store-postgres/.test(code) ? needsPostgres : []),
    ];
    itWith(['curl', ...servers], title, test);
  }
}

/** A whole program: it serves, or it is a test. Other blocks are pieces. */
function isProgram(block: Block | undefined): boolean {
  return block !== undefined && isCode(block) && (/\.listen\(\d{4}/.test(block.code) || isTest(block));
}

function isTest({ code }: Block): boolean {
  return code.includes("from 'node:test'");
}

/** `…` in what a console shows stands for anything. */
function escapeForRegExp(text: string): string {
  return text.replaceAll(/[\\^$.*+?()[\]{}|]/g, '\\$&');
}
