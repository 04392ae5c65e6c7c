import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { expect } from 'chai';
import { ROOT, readDocuments } from 'docs/markdown';

const SITE = `${ROOT}docs/.vitepress/`;

describe('The site', () => {
  let pages: string[];

  before('builds, with no link between its pages that leads nowhere', function () {
    this.timeout(600_000);
    const install = npm('ci', '--prefix', SITE, '--ignore-scripts', '--no-audit', '--no-fund');
    if (install.status !== 0 && OUT_OF_REACH.test(install.output)) {
      console.warn('      The site was not built: the registry is out of reach.');
      this.skip();
    }
    expect(install.status, install.output).to.equal(0);
    const build = npm('run', 'build', '--prefix', SITE);
    expect(build.status, build.output).to.equal(0);
    pages = readdirSync(`${SITE}dist`, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.html'));
  });

  it('has a page of each document in docs/, each section of the recipes, and each package', () => {
    const recipes = readDocuments().find(({ path }) => path === 'docs/recipes.md')?.prose ?? '';
    const documents = readDocuments().filter(({ path }) => /^docs\/(?!recipes)|^packages\/store-/.test(path));
    const titles = [
      ...documents.map(({ prose }) => /^# (.*)/m.exec(prose)?.[1]),
      ...Array.from(recipes.matchAll(/^## (.*)/gm), ([, heading]) => heading),
    ];
    expect(titles).not.to.include(undefined);
    expect(pages.map(titleOf)).to.include.members(titles.map((title) => plain(title as string)));
  });

  it('links all its pages in the sidebar', () => {
    const home = readFileSync(`${SITE}dist/start/install-and-count.html`, 'utf8');
    const linked = Array.from(home.matchAll(/href="\/([^"#]*?)(?:\.html)?"/g), ([, path]) => path as string);
    const all = pages.map((page) => page.replace(/\.html$/, '').replace(/(^|\/)index$/, '$1'));
    expect(all.filter((page) => page !== '404' && !linked.includes(page))).to.deep.equal([]);
  });

  it('has the API reference by task: session() first, errors last, modules as they are imported', () => {
    const core = readFileSync(`${SITE}pages/api/koa-wsession.md`, 'utf8');
    const groups = Array.from(core.matchAll(/^## (.*)/gm), ([, title]) => title);
    expect([groups.at(0), groups.at(-1)]).to.deep.equal(['Sessions', 'Errors']);
    expect(/^### (.*)/m.exec(core)?.[1]).to.equal('session()');
    expect(pages.filter((page) => /api\/.*src/.test(page))).to.deep.equal([]);
    expect(existsSync(`${SITE}dist/api/koa-wsession/memory.html`)).to.equal(true);
  });
});

/** npm's codes of a registry, or a name server, that doesn't respond. */
const OUT_OF_REACH = /\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ERR_SOCKET_TIMEOUT|ENOTCACHED)\b/;

function npm(...args: string[]): { status: number | null; output: string } {
  const { NODE_V8_COVERAGE: _, ...env } = process.env; // it would take twice the time
  const { status, stdout, stderr } = spawnSync('npm', args, { cwd: ROOT, env, encoding: 'utf8' });
  return { status, output: stdout + stderr };
}

function titleOf(page: string): string {
  const [, heading = ''] =
    /<h1[^>]*>(.*?) ?<a class="header-anchor"/s.exec(readFileSync(`${SITE}dist/${page}`, 'utf8')) ?? [];
  return plain(heading.replaceAll(/<[^>]*>/g, ''));
}

/** Without the marks of code and of HTML. */
function plain(title: string): string {
  return title.replaceAll(/[`"'’]|&quot;|&#39;/g, '').trim();
}
