import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { Client } from 'testkit/http';
import { create, makeStore, recordOf } from './support.js';

describe('the README', () => {
  const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
  const example = /```js\n\/\/ app\.mjs\n([\s\S]+?)```/.exec(readme)![1]!;

  async function run(secret: string | undefined): Promise<{ output: string; stop(): void }> {
    const file = new URL('readme-example.mjs', import.meta.url);
    writeFileSync(
      file,
      example.replace('app.listen(3000)', 'app.listen(0, function () { console.log(this.address().port) })'),
    );
    const env = { ...process.env };
    delete env.SESSION_SECRET;
    if (secret !== undefined) env.SESSION_SECRET = secret;
    const child = spawn(process.execPath, [file.pathname], { env, stdio: ['ignore', 'pipe', 'pipe'] });
    let errors = '';
    child.stderr.on('data', (text) => {
      errors += text;
    });
    const [output] = await Promise.race([
      once(child.stdout, 'data'),
      once(child, 'close').then(() => [errors]),
    ]);
    rmSync(file);
    return { output: String(output), stop: () => child.kill() };
  }

  it('says first what the store can not do', () => {
    const [, first] = readme.split('\n\n');
    for (const limit of ["can't merge", "can't revoke across processes", 'replayed until it expires', '4096'])
      expect(first).to.include(limit);
  });

  it('has an example that runs and counts', async () => {
    const { output, stop } = await run('a secret of the example, 32 bytes or more');
    try {
      const visitor = new Client(`http://127.0.0.1:${Number(output)}`);
      const bodies = [];
      for (const path of ['/', '/favicon.ico', '/', '/']) bodies.push((await visitor.get(path)).body);
      expect(bodies).to.deep.equal(['Visit number 1\n', 'Not Found', 'Visit number 2\n', 'Visit number 3\n']);
    } finally {
      stop();
    }
  });

  it('has an example that says what is missing when there is no secret', async () => {
    const { output, stop } = await run(undefined);
    stop();
    expect(output).to.include('OptionError: The secret of CookieStore is undefined');
  });

  it('says what fits into a cookie', () => {
    const store = makeStore();
    const length = (entries: Record<string, string>): number => create(store, recordOf(entries)).length;
    expect(readme).to.include('an empty one would take 143 characters');
    expect(length({})).to.equal(143);
    const data = { user: '"ada"', cart: '[1,2,3]', 日本: '1' };
    const bytes = Object.entries(data).reduce((sum, [key, value]) => sum + Buffer.byteLength(key + value), 0);
    expect(length(data)).to.be.within(
      143 + (bytes + 3 * 4) * (4 / 3) - 1,
      143 + (bytes + 3 * 5) * (4 / 3) + 1,
    );
  });
});
