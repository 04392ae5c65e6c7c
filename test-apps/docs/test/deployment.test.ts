import { expect } from 'chai';
import { type Block, readDocuments } from 'docs/markdown';
import { whileRunning } from 'docs/run-program';
import { itWith } from 'testkit/programs';

/** The recipes whose code is one line of an app, in an app. */
describe('The recipes for deployment', () => {
  const recipes = readDocuments().find(({ path }) => path === 'docs/recipes.md');

  function codeOf(heading: string): string {
    const section = recipes?.text.split(`\n## ${heading}\n`)[1]?.split('\n## ')[0] ?? '';
    return /```js\n(.*?)```/s.exec(section)?.[1] ?? '';
  }

  /** An app around a recipe; what it imports already isn't imported twice. */
  function asProgram(code: string, listen = 'app.listen(3000);'): Block {
    const imports = ["import { FsStore } from '@koa-wsession/store-fs';", "import { session } from 'koa-wsession';"];
    const missing = imports.filter((line) => !code.includes(line)).join('\n');
    const app = `${missing}\nimport Koa from 'koa';\nconst app = new Koa();\n`;
    const count = `app.use((ctx) => { ctx.body = ctx.session.counter = (ctx.session.counter ?? 0) + 1; });\n`;
    // The recipes with options alone show the call without its app.
    const used = code.replace(/^session\((.*)\);/m, 'app.use(session($1));');
    return { language: 'js', line: 0, code: app + used + count + listen };
  }

  const SECRETS = { SESSION_SECRET: 'a secret of at least thirty-two bytes' };
  const HEAD = 'curl -s -D - -o /dev/null';

  it('Copies and headers: a copy of the session, and of the headers, can be stored', () =>
    whileRunning(
      asProgram(`app.use(session(new FsStore()));
        app.use((ctx, next) => {
          ${codeOf('Copies and headers')}
          return next();
        });`),
      {},
      async ({ run }) => {
        for (const count of ['1', '2']) expect(await run('curl -s -b jar -c jar localhost:3000')).to.equal(count);
      },
    ));

  itWith(['openssl', 'curl'], 'TLS: a secure session over HTTP/2 and HTTP/1', () => {
    const files = `execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=localhost',
      '-keyout', 'key.pem', '-out', 'cert.pem'], { stdio: 'pipe' });`;
    const start = codeOf('TLS').replace('.listen(443)', '.listen(3000)');
    const secure = `import { execFileSync } from 'node:child_process';
      ${files}\napp.use(session(new FsStore({ secure: true }), { name: '__Host-session' }));\n`;
    return whileRunning(asProgram(secure, start), {}, async ({ run }) => {
      for (const version of ['--http2', '--http1.1'])
        expect(await run(`${HEAD} -k ${version} https://localhost:3000`)).to.match(
          /set-cookie: __Host-session=.*Secure/i,
        );
    });
  });

  it('Another name, path or domain: the cookie has the new name and path', () =>
    whileRunning(asProgram(codeOf('Another name, path or domain')), {}, async ({ run }) => {
      expect(await run(`${HEAD} localhost:3000/account`)).to.match(/set-cookie: account2=.*; Path=\/account;/i);
    }));

  it('Sub-domains: the cookie is for all hosts of the domain', () =>
    whileRunning(asProgram(codeOf('Sub-domains')), {}, async ({ run }) => {
      expect(await run(`${HEAD} localhost:3000`)).to.match(/set-cookie: account=.*; Domain=example\.com/i);
    }));

  it('Mounted apps: the cookie is signed, and only for its path', () =>
    whileRunning(asProgram(codeOf('Mounted apps')), SECRETS, async ({ run }) => {
      expect(await run(`${HEAD} localhost:3000/admin`)).to.match(/set-cookie: admin=[\w-]+\.[\w-]+; .*Path=\/admin;/i);
      expect(await run(`${HEAD} localhost:3000/`)).to.match(/^HTTP\/1.1 500 /);
    }));

  it('Serverless: the handler serves as it is', async () => {
    const code = codeOf('Serverless').replace(
      'export default app.callback();',
      "import { createServer } from 'node:http';\ncreateServer(app.callback()).listen(3000);",
    );
    await whileRunning({ language: 'js', line: 0, code }, SECRETS, async ({ run }) => {
      expect(await run('curl -s localhost:3000')).to.equal('Visits: 0');
    });
  });
});
