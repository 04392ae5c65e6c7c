import { expect } from 'chai';
import { koa3 } from './setup.js';

/** What a bundle that is an ES module needs for `require` of Node's own modules: esbuild's documents say so. */
const REQUIRE = "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);";

describe('the packages, installed, with the tools of an app', () => {
  it('pass under Jest in its default mode, CommonJS', async () => {
    await koa3.succeed('npx', 'jest', '--testMatch', '**/jest.test.js');
  });

  it('pass under Vitest', async () => {
    await koa3.succeed('npx', 'vitest', 'run', 'vitest.test.mjs');
  });

  it('count under ts-node, which checks the types', async () => {
    const options = JSON.stringify({
      ...{ module: 'commonjs', moduleResolution: 'node10', esModuleInterop: true },
      ...{ target: 'es2022', types: ['node'], strict: true },
    });
    expect(await koa3.succeed('npx', 'ts-node', '-O', options, 'counter.ts')).to.equal('1 2');
    expect((await koa3.run('npx', 'ts-node', '-O', options, 'typo.ts')).output).to.match(
      /typo\.ts\(\d+,\d+\): error TS2/,
    );
  });

  for (const file of ['counter.ts', 'counter.mts']) {
    it(`count under tsx as ${file}`, async () => {
      expect(await koa3.succeed('npx', 'tsx', file)).to.equal('1 2');
    });
  }

  for (const [format, ...options] of [['cjs'], ['esm', `--banner:js=${REQUIRE}`]]) {
    it(`count after esbuild --bundle --minify --format=${format}, and errors keep their names`, async () => {
      const bundle = `minified.${format === 'cjs' ? 'cjs' : 'bundle.mjs'}`;
      const how = ['--bundle', '--minify', '--platform=node', `--format=${format}`, `--outfile=${bundle}`];
      await koa3.succeed('npx', 'esbuild', 'minified.mjs', ...how, ...options);
      expect(JSON.parse(await koa3.succeed('node', bundle))).to.deep.equal({
        names: ['OptionError', 'ReservedError', 'DuplicateMiddlewareError'],
        counts: ['1', '2', '3'],
      });
    });
  }
});
