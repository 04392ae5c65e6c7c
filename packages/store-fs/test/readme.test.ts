import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { FsStore } from '@koa-wsession/store-fs';
import { expect } from 'chai';
import { Client } from 'testkit/http';
import { call, newAddress, recordOf, useFolder } from './helpers.js';

describe('the README', () => {
  const folder = useFolder();
  const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
  const [, example = ''] = /```js\n(.*?)```/s.exec(readme) ?? [];

  /** Runs the example in the folder above; answers the visitor's side of it. */
  async function run(index: number): Promise<{ url: string; stop(): Promise<unknown> }> {
    const file = new URL(`readme-example-${index}.mjs`, import.meta.url);
    const port = 'app.listen(process.env.PORT ?? 3000)';
    expect(example).to.include(port);
    writeFileSync(
      file,
      example.replace(port, 'app.listen(0, function () { console.log(this.address().port) })'),
    );
    const app = spawn(process.execPath, [file.pathname], {
      cwd: dirname(folder.current.path),
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [output] = await once(app.stdout, 'data');
    rmSync(file);
    const stop = (): Promise<unknown> => {
      const exited = once(app, 'exit');
      app.kill('SIGKILL');
      return exited;
    };
    return { url: `http://127.0.0.1:${Number(output)}`, stop };
  }

  it('has an example that counts, in two processes at once and after they were killed', async () => {
    const jar = new Client('').jar;
    const visit = async ({ url }: { url: string }, path = '/') => {
      const visitor = new Client(url);
      for (const [name, value] of jar) visitor.jar.set(name, value);
      const { body } = await visitor.get(path);
      for (const [name, value] of visitor.jar) jar.set(name, value);
      return body;
    };
    const [one, two] = await Promise.all([run(1), run(2)]);
    try {
      expect(await visit(one)).to.equal('Visit number 1\n');
      expect(await visit(one, '/favicon.ico')).to.equal('Not Found');
      expect(await visit(two)).to.equal('Visit number 2\n');
    } finally {
      await Promise.all([one.stop(), two.stop()]);
    }
    const next = await run(3);
    try {
      expect(await visit(next)).to.equal('Visit number 3\n');
      expect((await new Client(next.url).get('/')).body).to.equal('Visit number 1\n');
    } finally {
      await next.stop();
    }
    expect(folder.current.names).to.have.lengthOf(2);
    for (const name of folder.current.names) expect(name).to.match(/^weppy_[\w-]{43}\.sess$/);
  });

  it('lists the options that there are, with their defaults', () => {
    const [, table = ''] = /\n## Options\n(.*?)\n## /s.exec(readme) ?? [];
    const rows = Array.from(table.matchAll(/^\| `(\w+)` \| (.+?) \|/gm), ([, name, value]) => [name, value]);
    expect(Object.fromEntries(rows)).to.deep.equal({
      directory: "`'./sessions'`",
      filenameTemplate: "`'weppy_%s.sess'`",
      fsync: '`true`',
      sweepInterval: '`300`',
      expire: '`3600`',
      secure: '`false`',
      domain: 'the host alone',
    });
    const defaults = {
      ...{ directory: './sessions', filenameTemplate: 'weppy_%s.sess', fsync: true, sweepInterval: 300 },
      ...{ expire: 3600, secure: false, domain: 'example.com' },
    };
    return new FsStore(defaults).close();
  });

  it("says what a file's first line holds", async () => {
    const store = folder.current.store();
    mkdirSync(folder.current.path);
    const [address, record] = [newAddress(), recordOf({ name: '"Ada"' })];
    await store.create(address, record, call());
    const [line = ''] = readFileSync(folder.current.file(address), 'utf8').split('\n');
    const [version, createdAt, expiresAt, ...lengths] = line
      .split(',')
      .map((text) => Number.parseInt(text, 36));
    expect([version, createdAt, expiresAt]).to.deep.equal([1, record.createdAt, record.expiresAt]);
    expect(lengths).to.deep.equal([43, 4, 5]);
  });
});
