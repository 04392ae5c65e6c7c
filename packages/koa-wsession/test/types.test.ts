import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';

const folder = fileURLToPath(new URL('../test/fixtures/types/', import.meta.url));
const compiler = join(dirname(createRequire(import.meta.url).resolve('@typescript/native/package.json')), 'bin/tsc');

describe('the types', () => {
  let stdout: string;
  let found: string[];

  before(() => {
    const options = ['-p', folder, '--pretty', 'false'];
    ({ stdout } = spawnSync(process.execPath, [compiler, ...options], { encoding: 'utf8' }));
    const lines = stdout.matchAll(/^(?:.*\/)?(\w+\.mts)\((\d+),\d+\): error (TS\d+)/gm);
    found = Array.from(lines, ([, ...parts]) => parts.join(' '));
  });

  it('of a strict consumer compile, in Koa and in a router', () => {
    expect(found.filter((error) => !error.startsWith('bad.mts '))).to.deep.equal([]);
    // A line that isn't an error in one of the two files would be one in ours, or in a library's.
    expect(stdout.split('\n').filter((line) => line && !/^\s|bad\.mts\(/.test(line))).to.deep.equal([]);
  });

  it('refuse a typo, a wrong type and what is read-only, in Koa and in a router', () => {
    const expected = readFileSync(join(folder, 'bad.mts'), 'utf8')
      .split('\n')
      .flatMap((line, i) => {
        const code = / \/\/ (TS\d+)$/.exec(line)?.[1];
        return code ? [`bad.mts ${i + 1} ${code}`] : [];
      });
    expect(expected.length).to.be.greaterThan(20);
    expect(found).to.deep.equal(expected);
  });
});
