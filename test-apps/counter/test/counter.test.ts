import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { Client, itWith, startRedis } from 'testkit';
import { needsPostgres, startPostgres } from 'testkit/postgres';

const MAIN = fileURLToPath(import.meta.resolve('counter/main'));

/** The app in a process of its own, as `npm start` starts it. */
async function start(env: Record<string, string>, cwd: string): Promise<{ url: string; stop(): Promise<void> }> {
  const app = spawn(process.execPath, [MAIN], {
    cwd,
    env: { ...process.env, PORT: '0', ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = await once(createInterface(app.stdout), 'line');
  const url = /http:\/\/localhost:\d+/.exec(line)?.[0] as string;
  return {
    url: url.replace('localhost', '127.0.0.1'),
    async stop() {
      app.kill('SIGKILL');
      await once(app, 'exit');
    },
  };
}

const countOf = (body: string): number => Number(/<output[^>]*>(\d+)</.exec(body)?.[1]);

describe('the counter app', () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'counter-'));
  });
  afterEach(() => rm(directory, { recursive: true }));

  for (const [name, survives] of [
    ['memory', false],
    ['cookie', true],
    ['fs', true],
    ['redis', true],
    ['postgres', true],
  ] as const) {
    itWith(
      { redis: ['redis-server'], postgres: needsPostgres }[name as string] ?? [],
      `counts, regenerates, logs out${survives ? ' and survives' : ' and starts anew after'} kill -9 on STORE=${name}`,
      async () => {
        const redis = name === 'redis' ? await startRedis() : undefined;
        const postgres = name === 'postgres' ? await startPostgres() : undefined;
        const env = {
          STORE: name,
          SESSION_SECRET: 'a secret of at least thirty-two bytes',
          ...(redis && { REDIS_URL: redis.url }),
          ...(postgres && { DATABASE_URL: postgres.url }),
        };
        let app = await start(env, directory);
        try {
          let ada = new Client(app.url);
          const visit = async () => countOf((await ada.get('/')).body);
          expect([await visit(), await visit(), await visit()]).to.deep.equal([1, 2, 3]);

          const { cookie } = ada;
          expect((await ada.post('/regenerate')).status).to.equal(302);
          expect(ada.cookie).not.to.equal(cookie);
          const page = (await ada.get('/')).body;
          expect(countOf(page)).to.equal(4);
          expect(page).to.contain('has a new id');
          expect((await ada.get('/')).body).not.to.contain('has a new id');

          await app.stop();
          app = await start(env, directory);
          const { jar } = ada;
          ada = new Client(app.url);
          for (const [key, value] of jar) ada.jar.set(key, value);
          expect(await visit()).to.equal(survives ? 6 : 1);

          await ada.post('/logout');
          expect(ada.jar.size).to.equal(0);
          expect(await visit()).to.equal(1);
        } finally {
          await app.stop();
          await redis?.stop();
          await postgres?.stop();
        }
      },
    );
  }

  it("doesn't count the browser's request for /favicon.ico", async () => {
    const app = await start({ STORE: 'memory' }, directory);
    try {
      const ada = new Client(app.url);
      const { status, setCookie, headers } = await ada.get('/favicon.ico');
      expect([status, setCookie, headers['content-type']]).to.deep.equal([200, [], 'image/svg+xml']);
      expect(countOf((await ada.get('/')).body)).to.equal(1);
      await ada.get('/favicon.ico');
      expect(countOf((await ada.get('/')).body)).to.equal(2);
    } finally {
      await app.stop();
    }
  });

  it('says in a sentence that its port is in use, and ends', async () => {
    const app = await start({ STORE: 'memory' }, directory);
    try {
      const { port } = new URL(app.url);
      const second = spawn(process.execPath, [MAIN], {
        env: { ...process.env, STORE: 'memory', PORT: port },
        stdio: ['ignore', 'ignore', 'pipe'],
      });
      const exited = once(second, 'exit');
      expect(await text(second.stderr)).to.equal(`Port ${port} is in use: set PORT to another one.\n`);
      expect((await exited)[0]).to.equal(1);
    } finally {
      await app.stop();
    }
  });

  it('keeps its files in ./sessions, named without the id', async () => {
    const app = await start({ STORE: 'fs' }, directory);
    try {
      const ada = new Client(app.url);
      await ada.get('/');
      const [file, ...others] = await readdir(join(directory, 'sessions'));
      expect(others).to.deep.equal([]);
      expect(file).to.match(/^weppy_[\w-]{43}\.sess$/);
      expect(file).not.to.contain(ada.cookie.slice('wsession='.length));
    } finally {
      await app.stop();
    }
  });
});
