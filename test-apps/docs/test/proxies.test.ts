import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { request } from 'node:https';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { expect } from 'chai';
import { readDocuments } from 'docs/markdown';
import { whileRunning } from 'docs/run-program';
import { itWith } from 'testkit/programs';

/** The proxies of docs/proxies.md, as the page configures them, in front of an app that says what it sees. */
describe('The page on proxies', () => {
  const page = readDocuments().find(({ path }) => path === 'docs/proxies.md');
  const blockOf = (language: string): string => page?.blocks.find((block) => block.language === language)?.code ?? '';

  /** The app sees the visitor's protocol and address; `/large` sets a session that fills a cookie. */
  const APP = `
    import { CookieStore } from '@koa-wsession/store-cookie';
    import Koa from 'koa';
    import { session } from 'koa-wsession';
    const app = new Koa({ proxy: true });
    app.use(session(new CookieStore('a secret of at least thirty-two bytes', { secure: true }), { name: '__Host-s' }));
    app.use((ctx) => {
      if (ctx.path === '/large') ctx.session.text = 'x'.repeat(2800);
      ctx.body = [ctx.protocol, ctx.ip, ctx.host, ctx.session.text?.length ?? 0].join(' ');
    });
    app.listen(3000);`;

  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'proxies-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  async function behind(start: (app: number, port: number) => ChildProcess): Promise<void> {
    await whileRunning({ language: 'js', line: 0, code: APP }, {}, async (running) => {
      const port = await freePort();
      const proxy = start(running.port, port);
      try {
        await listening(port, proxy);
        const forged = { 'X-Forwarded-For': '1.2.3.4', 'X-Forwarded-Proto': 'http' };
        expect((await get(port, '/', forged)).body).to.equal('https 127.0.0.1 shop.example.com 0');
        const { status, cookie } = await get(port, '/large', {});
        expect([status, cookie.length > 3500]).to.deep.equal([200, true]);
        const again = await get(port, '/', { Cookie: cookie });
        expect(again.body).to.equal('https 127.0.0.1 shop.example.com 2800');
      } finally {
        if (proxy.exitCode === null) {
          const exited = once(proxy, 'exit');
          proxy.kill('SIGTERM');
          await exited;
        }
      }
    });
  }

  itWith(['nginx', 'openssl'], 'nginx: overwrites what a visitor forges, and passes a large cookie on', () =>
    behind((app, port) => {
      const certificate = ['-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=shop.example.com'];
      const files = ['-keyout', `${folder}/shop.key`, '-out', `${folder}/shop.pem`];
      execFileSync('openssl', ['req', '-x509', ...certificate, ...files], { stdio: 'pipe' });
      const server = blockOf('nginx')
        .replace('listen 443', `listen 127.0.0.1:${port}`)
        .replace('127.0.0.1:3000', `127.0.0.1:${app}`)
        .replaceAll('/etc/ssl', folder);
      const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
        (name) => `${name}_temp_path ${folder}/${name};`,
      );
      const http = ['access_log off;', ...temporary, server].join('\n');
      const user = process.getuid?.() === 0 ? 'user root;' : ''; // to read and write the folder
      writeFileSync(`${folder}/nginx.conf`, `${user} daemon off; pid ${folder}/pid; events {} http { ${http} }`);
      return spawn('nginx', ['-e', 'stderr', '-p', folder, '-c', 'nginx.conf'], { stdio: 'inherit' });
    }),
  );

  itWith(['caddy'], 'Caddy: overwrites what a visitor forges, and passes a large cookie on', () =>
    behind((app, port) => {
      const options = `{\n admin off\n skip_install_trust\n auto_https disable_redirects\n https_port ${port}\n}\n`;
      const site = blockOf('caddy')
        .replace('shop.example.com {', 'shop.example.com {\n tls internal')
        .replace('127.0.0.1:3000', `127.0.0.1:${app}`);
      writeFileSync(`${folder}/Caddyfile`, options + site);
      const env = { ...process.env, HOME: folder, XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder };
      return spawn('caddy', ['run', '--config', 'Caddyfile', '--adapter', 'caddyfile'], {
        ...{ cwd: folder, env, stdio: 'ignore' },
      });
    }),
  );
});

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

/** Until the proxy speaks TLS: Caddy makes its certificate after it begins to listen. */
async function listening(port: number, proxy: ChildProcess): Promise<void> {
  const isReady = async (): Promise<boolean> => {
    const socket = connect({ port, host: '127.0.0.1', servername: 'shop.example.com', rejectUnauthorized: false });
    const ready = await once(socket, 'secureConnect').then(
      () => true,
      () => false,
    );
    socket.destroy();
    return ready;
  };
  while (!(await isReady())) {
    if (proxy.exitCode !== null) throw new Error(`The proxy ended with ${proxy.exitCode}.`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function get(port: number, path: string, headers: Record<string, string>) {
  const outgoing = request({
    ...{ host: '127.0.0.1', port, path, servername: 'shop.example.com', rejectUnauthorized: false },
    headers: { Host: 'shop.example.com', Connection: 'close', ...headers },
  });
  outgoing.end();
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
  let body = '';
  for await (const part of response) body += part;
  const cookie = response.headers['set-cookie']?.[0]?.split(';')[0] ?? '';
  return { status: response.statusCode, body, cookie };
}
