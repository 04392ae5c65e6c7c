import { spawnSync } from 'node:child_process';
import { expect } from 'chai';
import { ROOT } from 'docs/markdown';

describe('The API reference', () => {
  it('is made without a warning, and no export lacks its docstring', function () {
    this.timeout(600_000);
    const { NODE_V8_COVERAGE: _, ...env } = process.env; // it would take twice the time
    const typedoc = `${ROOT}node_modules/typedoc/bin/typedoc`;
    const { status, stdout, stderr } = spawnSync(process.execPath, [typedoc, '--emit', 'none'], {
      ...{ cwd: ROOT, env, encoding: 'utf8' },
    });
    expect(status, stdout + stderr).to.equal(0);
  });
});
