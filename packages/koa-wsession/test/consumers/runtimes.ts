import { expect } from 'chai';
import { has, type RedisServer, startRedis } from 'testkit';
import { type Consumer, koa2, koa3 } from './setup.js';

const KOAS: Record<string, () => Consumer> = { 'Koa 3': () => koa3, 'Koa 2': () => koa2 };
/** How to start a program on each of them; `undefined` where it can't be had. */
const RUNTIMES: Record<string, () => Promise<readonly string[] | undefined>> = {
  'Node 20': () => node(20),
  'Node 22': () => node(22),
  'Node 24': () => node(24),
  'Node 26': () => node(26),
  Bun: () => fromNpm('bun@1'),
  Deno: () => fromNpm('deno@2', 'run', '-A'),
};
/** What a registry may lack. */
const OPTIONAL = ['Node 26', 'Bun', 'Deno'];

async function node(major: number): Promise<readonly string[] | undefined> {
  const program = await koa3.node(major);
  return program === undefined ? undefined : [program];
}

async function fromNpm(name: string, ...args: string[]): Promise<readonly string[] | undefined> {
  const { failed } = await koa3.run('npx', '-y', name, '--version');
  return failed ? undefined : ['npx', '-y', name, ...args];
}

describe('the packages, installed, run', () => {
  let redis: RedisServer | undefined;
  before(async () => {
    if (has('redis-server')) redis = await startRedis();
  });
  after(() => redis?.stop());

  for (const [runtime, find] of Object.entries(RUNTIMES)) {
    describe(`on ${runtime}`, () => {
      let start: (consumer: Consumer, ...args: string[]) => Promise<string>;
      before(async function () {
        const found = await find();
        if (found === undefined && OPTIONAL.includes(runtime)) {
          console.log(`      skipped: the registry has no ${runtime}`);
          this.skip();
        }
        const [program = '', ...first] = found ?? [];
        start = (consumer, ...args) => consumer.succeed(program, ...first, ...args);
      });

      for (const [koa, consumer] of Object.entries(KOAS)) {
        for (const [way, file] of [
          ['import', 'counter.mjs'],
          ['require', 'counter.cjs'],
        ] as const) {
          it(`count on every store with ${koa}, loaded by ${way}`, async () => {
            const counts = JSON.parse(await start(consumer(), file, ...(redis ? [String(redis.port)] : [])));
            const stores = ['memory', 'cookie', 'fs', ...(redis ? ['redis'] : [])];
            expect(counts).to.deep.equal(Object.fromEntries(stores.map((name) => [name, ['1', '2', '3']])));
          });
        }
      }

      it('are the same, loaded by import and by require in one app', async () => {
        expect(await start(koa3, 'mixed.mjs')).to.equal('the same');
      });
    });
  }
});
