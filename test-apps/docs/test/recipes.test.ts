import { rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { expect } from 'chai';
import { type Block, readDocuments } from 'docs/markdown';
import { type Running, whileRunning } from 'docs/run-program';

/** Pieces of the recipes, in an app of their own, with the inputs that go wrong. */
describe('The recipes', () => {
  const recipes = readDocuments().find(({ path }) => path === 'docs/recipes.md');

  /** The code of the recipe with this heading. */
  function codeOf(heading: string): string {
    const section = recipes?.text.split(`\n## ${heading}\n`)[1]?.split('\n## ')[0] ?? '';
    return /```js\n(.*?)```/s.exec(section)?.[1] ?? '';
  }

  function asProgram(code: string): Block {
    const imports = `
      import { FsStore } from '@koa-wsession/store-fs';
      import Koa from 'koa';
      import { session } from 'koa-wsession';
      const app = new Koa();
      const sessions = session(new FsStore());`;
    return { language: 'js', line: 0, code: `${imports}${code}` };
  }

  /** Makes the store fail: a file takes the place of its folder. */
  function fail({ folder }: Running): void {
    rmSync(`${folder}/sessions`, { recursive: true, force: true });
    writeFileSync(`${folder}/sessions`, '');
  }

  const upgrade = asProgram(`
      app.use(sessions);
      app.use((ctx) => sessions.of(ctx).logIn('ada').then(() => { ctx.body = ''; }));
      const server = app.listen(3000);
      ${codeOf('WebSockets')}`);
  const LOGIN = `curl -s -c jar localhost:3000`;
  const UPGRADE = `curl -s -i -b jar -H 'Connection: Upgrade' -H 'Upgrade: websocket' localhost:3000`;
  const OURS = `-H 'Origin: https://example.com'`;

  it('WebSockets: another origin is a 403, an anonymous visitor a 401, a store that fails a 503', () =>
    whileRunning(upgrade, {}, async (running) => {
      expect(await running.run(UPGRADE)).to.match(/^HTTP\/1.1 403 /);
      expect(await running.run(`${UPGRADE} ${OURS}`)).to.match(/^HTTP\/1.1 401 /);
      await running.run(LOGIN);
      fail(running);
      expect(await running.run(`${UPGRADE} ${OURS}`)).to.match(/^HTTP\/1.1 503 /);
    }));

  it('WebSockets: a client that resets the connection does not end the process', () =>
    whileRunning(upgrade, {}, async (running) => {
      const { port, run } = running;
      for (let i = 0; i < 20; i++) await reset(port);
      expect(await run(UPGRADE), running.output()).to.match(/^HTTP\/1.1 403 /);
    }));

  it('Pages for 409 and 503: each error has its page, and the 503 is logged', () =>
    whileRunning(
      asProgram(`
      ${codeOf('Pages for 409 and 503')}
      app.use(sessions);
      app.use(async (ctx) => {
        ctx.session.counter = 1;
        if (ctx.path === '/gone') {
          await ctx.session.save();
          await sessions.revokeAll();
          ctx.session.counter = 2;
        }
        ctx.body = 'ok';
      });
      app.listen(3000);`),
      {},
      async (running) => {
        expect(await running.run('curl -s -i localhost:3000/gone')).to.match(/^HTTP\/1.1 409 .*You were logged out/s);
        fail(running);
        const page = await running.run('curl -s -i localhost:3000');
        expect(page).to.match(/^HTTP\/1.1 503 .*We cannot reach your data/s);
        expect(page).to.match(/^Retry-After: 5$/m);
        expect(running.output()).to.include('The session store failed');
      },
    ));
});

/** Sends an upgrade, and resets the connection. */
function reset(port: number): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      const lines = ['GET / HTTP/1.1', 'Host: x', 'Connection: Upgrade', 'Upgrade: websocket'];
      socket.write(`${[...lines, 'Origin: https://example.com'].join('\r\n')}\r\n\r\n`, () => socket.resetAndDestroy());
    });
    socket.on('error', () => {});
    socket.on('close', () => resolve());
  });
}
