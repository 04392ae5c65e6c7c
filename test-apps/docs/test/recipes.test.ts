import { rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { expect } from 'chai';
import { type Block, readDocuments } from 'docs/markdown';
import { type Running, runToEnd, whileRunning } from 'docs/run-program';
import { itWith } from 'testkit/programs';
import { startRedis } from 'testkit/redis';

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

  const accounts = asProgram(`
      import { bodyParser } from '@koa/bodyparser';
      import Router from '@koa/router';
      const router = new Router();
      const checkPassword = async ({ name, password }) => (password === 'right' ? { id: name } : undefined);
      app.use(sessions).use(bodyParser()).use(router.routes());
      ${codeOf('Login, logout, "remember me"')}
      ${codeOf('A recent login')}
      ${codeOf('A list of devices')}
      ${codeOf('After a password change')}
      ${codeOf('Keys that visitors choose')}
      app.listen(3000);`);
  const STATUS = `curl -s -o /dev/null -w '%{http_code} %{redirect_url}'`;
  const logIn = (jar: string, more = '') =>
    `${STATUS} -c ${jar} ${more} -d 'name=ada&password=right' localhost:3000/login`;

  it('Login: a wrong password, no form, and no User-Agent', () =>
    whileRunning(accounts, {}, async ({ run }) => {
      expect(await run(`${STATUS} -d 'name=ada&password=wrong' localhost:3000/login`)).to.equal('401 ');
      expect(await run(`${STATUS} -X POST localhost:3000/login`)).to.equal('401 ');
      expect(await run(`${STATUS} -H 'Content-Type: application/json' -d '{' localhost:3000/login`)).to.equal('400 ');
      expect(await run(logIn('jar', "-H 'User-Agent:'"))).to.match(/^302 /);
      expect(await run('curl -s -b jar localhost:3000/devices')).to.match(/"current":true/);
    }));

  it('Login: the cookie ends with the browser, or stays for 30 days', () =>
    whileRunning(accounts, {}, async ({ run }) => {
      const cookie = (form: string) =>
        run(`curl -s -D - -o /dev/null -d 'name=ada&password=right${form}' localhost:3000/login | grep -i set-cookie`);
      expect(await cookie('')).not.to.match(/max-age|expires/i);
      expect(await cookie('&remember=on')).to.match(/max-age=2592000/i);
    }));

  it('Devices and passwords: an anonymous visitor is a 401, another device is logged out, this one stays', () =>
    whileRunning(accounts, {}, async ({ run }) => {
      for (const step of [
        'localhost:3000/devices',
        '-X POST localhost:3000/devices/x/logout',
        '-d "" localhost:3000/password',
      ])
        expect(await run(`${STATUS} ${step}`)).to.equal('401 ');
      await run(logIn('one'));
      await run(logIn('two'));
      expect(await run(`${STATUS} -b one -X POST localhost:3000/devices/guessed/logout`)).to.match(/^302 /);
      expect(await run(`${STATUS} -b one -c one -d "" localhost:3000/password`)).to.match(/^302 .*\/account$/);
      expect(await run(`${STATUS} -b two localhost:3000/devices`)).to.equal('401 ');
      expect(await run(`${STATUS} -b one localhost:3000/devices`)).to.equal('200 ');
    }));

  it('Login: while the store fails, the response is a 503, and the process goes on', () =>
    whileRunning(accounts, {}, async (running) => {
      fail(running);
      expect(await running.run(logIn('jar'))).to.equal('503 ');
      expect(await running.run(`${STATUS} localhost:3000/nothing`)).to.equal('404 ');
    }));

  it("A recent login: without one, the visitor is asked, and another user's password doesn't count", () =>
    whileRunning(accounts, {}, async ({ run }) => {
      expect(await run(`${STATUS} -X POST localhost:3000/email`)).to.match(/^302 .*\/confirm$/);
      await run(logIn('jar'));
      expect(await run('curl -s -b jar -X POST localhost:3000/email')).to.equal('Changed.');
      expect(await run(`${STATUS} -b jar -d 'name=bob&password=right' localhost:3000/confirm`)).to.equal('401 ');
      expect(await run(`${STATUS} -b jar -d 'name=ada&password=right' localhost:3000/confirm`)).to.match(/^302 /);
    }));

  it("Keys that visitors choose: the names of an object's methods were not seen", () =>
    whileRunning(accounts, {}, async ({ run }) => {
      for (const page of ['home', 'toString', '__proto__', 'constructor'])
        expect(await run(`curl -s localhost:3000/seen/${page}`)).to.equal('for the first time');
    }));

  it('Key rotation: a secret that is unset ends the app at its start, with a message', async () => {
    const code = recipes?.blocks.find(({ code }) => code.includes('OLD_SECRET'))?.code ?? '';
    const unset = `delete process.env.SESSION_SECRET;\n`;
    const { status, output } = await runToEnd({
      language: 'js',
      line: 0,
      code: code.replace('const {', `${unset}const {`),
    });
    expect(output).to.include('Invalid option keys');
    expect(status).to.equal(1);
  });

  itWith(['redis-server'], 'Docker and Kubernetes: SIGTERM ends the process with 0, also without Redis', async () => {
    const page = readDocuments().find(({ path }) => path === 'docs/containers.md');
    const program = page?.blocks[0] as Block;
    const redis = await startRedis();
    try {
      await whileRunning(program, { REDIS_URL: redis.url }, async ({ run, stop }) => {
        expect(await run(`curl -s -H 'X-Forwarded-Proto: https' localhost:3000`)).to.equal('Visits: 1\n');
        expect(await stop('SIGTERM')).to.equal(0);
      });
      await whileRunning(program, { REDIS_URL: redis.url }, async ({ run, stop }) => {
        await redis.stop();
        expect(await run('curl -s localhost:3000/healthz')).to.equal('ok\n');
        expect(await stop('SIGTERM')).to.equal(0);
      });
    } finally {
      await redis.stop();
    }
  });

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
