import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { itWith } from 'testkit/programs';
import { startRedis } from 'testkit/redis';

const MAIN = fileURLToPath(import.meta.resolve('demo/main'));

describe('npm start', () => {
  /** The titles of the apps that the front page links, and what each one shows as its heading. */
  async function headingsOf(env: Record<string, string>): Promise<Record<string, string>> {
    const cwd = await mkdtemp(join(tmpdir(), 'demo-'));
    const demo = spawn(process.execPath, [MAIN], {
      ...{ cwd, env: { ...process.env, PORT: '0', ...env }, stdio: ['ignore', 'pipe', 'inherit'] },
    });
    try {
      const [line] = await once(createInterface(demo.stdout as NodeJS.ReadableStream), 'line');
      const front = await fetch(/http:\S+/.exec(line)?.[0] as string).then((response) => response.text());
      const links = Array.from(front.matchAll(/<a href="(http:[^"]+)">(.*?)</g));
      const headings = links.map(async ([, url = '', title]) => {
        const page = await fetch(url).then((response) => response.text());
        return [title, /<h1>(.*?)</.exec(page)?.[1]];
      });
      return Object.fromEntries(await Promise.all(headings));
    } finally {
      const exited = once(demo, 'exit');
      demo.kill('SIGKILL');
      await exited;
      await rm(cwd, { recursive: true });
    }
  }

  const THREE = { Counter: 'Your visits', Login: 'Log in', Cart: 'Stationery' };

  for (const STORE of ['memory', 'fs'])
    it(`links four apps that run (STORE=${STORE})`, async () => {
      expect(await headingsOf({ STORE })).to.deep.equal({ ...THREE, Chat: 'Chat' });
    });

  itWith(['redis-server'], 'links four apps that run (STORE=redis)', async () => {
    const redis = await startRedis();
    try {
      expect(await headingsOf({ STORE: 'redis', REDIS_URL: redis.url })).to.deep.equal({ ...THREE, Chat: 'Chat' });
    } finally {
      await redis.stop();
    }
  });

  it('leaves out the chat, which needs a store on the server (STORE=cookie)', async () => {
    expect(await headingsOf({ STORE: 'cookie' })).to.deep.equal(THREE);
  });

  it('says in a sentence that a port is in use, and ends', async () => {
    const other = createServer().listen(0);
    await once(other, 'listening');
    const { port } = other.address() as { port: number };
    try {
      const env = { ...process.env, STORE: 'memory', PORT: String(port - 1) };
      const demo = spawn(process.execPath, [MAIN], { env, stdio: ['ignore', 'ignore', 'pipe'] });
      const exited = once(demo, 'exit');
      expect(await text(demo.stderr)).to.equal(`Port ${port} is in use: set PORT to another one.\n`);
      expect((await exited)[0]).to.equal(1);
    } finally {
      other.close();
    }
  });
});
