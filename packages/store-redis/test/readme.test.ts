import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { expect } from 'chai';
import { Client } from 'testkit/http';
import { startRedis, until } from 'testkit/redis';

describe('The README', () => {
  it('has an example that runs', async () => {
    const readme = await readFile(new URL('../README.md', import.meta.url), 'utf8');
    const [, code = ''] = /```js\n(.*?)```/s.exec(readme) ?? [];
    const file = new URL('./readme-app.mjs', import.meta.url);
    await writeFile(file, code);

    const server = await startRedis();
    const port = String(await freePort());
    const app = spawn(process.execPath, [file.pathname], {
      env: { ...process.env, REDIS_URL: server.url, PORT: port },
      stdio: 'inherit',
    });
    try {
      const visitor = new Client(`http://127.0.0.1:${port}`);
      await until('the app listens', () => visitor.get('/').then(Boolean, () => false));
      expect((await visitor.get('/')).body).to.equal('Visit number 2\n');
      expect((await new Client(visitor.url).get('/')).body).to.equal('Visit number 1\n');
    } finally {
      app.kill();
      await once(app, 'exit');
      await server.stop();
    }
  });
});

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
