import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { itWith } from 'testkit/programs';
import { FOLDER } from './setup.js';

/** The page's program, as it stands but for its port, and what its console shows. */
describe('docs/passport.md', () => {
  itWith(['curl'], 'shows a program that does what the console shows', async () => {
    const page = await readFile(`${FOLDER}../../docs/passport.md`, 'utf8');
    const [, program] = /```js\n(.*?)```/s.exec(page);
    const [, session] = /```console\n(.*?)```/s.exec(page);
    expect(program).to.contain('app.listen(3000);');
    const served = program.replace(
      'app.listen(3000);',
      'const server = app.listen(0, () => process.send(server.address().port));',
    );

    await mkdir(`${FOLDER}.test`, { recursive: true });
    const cwd = await mkdtemp(`${FOLDER}.test/passport-`);
    await writeFile(`${cwd}/app.mjs`, served);
    const app = spawn(process.execPath, ['app.mjs'], { cwd, stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
    try {
      const [port] = await once(app, 'message');
      let shown = '';
      for (const [, command] of session.matchAll(/^\$ (.*)$/gm)) {
        const here = command.replaceAll('localhost:3000', `127.0.0.1:${port}`);
        const { stdout } = await promisify(execFile)('sh', ['-c', here], { cwd });
        shown += `$ ${command}\n${stdout.replace(/\n?$/, '\n')}`;
      }
      expect(shown).to.equal(session);
    } finally {
      app.kill();
      await once(app, 'exit');
      await rm(cwd, { recursive: true });
    }
  });
});
