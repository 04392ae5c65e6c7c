// Writes the documents of the repository as pages of the site into `pages/`, with the API reference by typedoc.
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { anchorsOf, documentOf, raiseHeadings, replaceLinks } from './document.mjs';
import { ROOT, readOutline } from './outline.mjs';

const PAGES = join(import.meta.dirname, 'pages');
const HOME = /^https:\/\/github\.com\/koa-wsession\/koa-wsession\/(?:blob|tree)\/main\//;
const SOURCE = 'https://github.com/koa-wsession/koa-wsession/blob/main/';

const read = (path) => readFileSync(`${ROOT}/${path}`, 'utf8');
const outline = readOutline();
const pages = outline.flatMap(({ pages }) => pages);

/** The pages of documents that are split: what is above their sections. */
const FRONT = {
  'README.md': 'start/install-and-count',
  'docs/recipes.md': 'guides/index',
  'packages/koa-wsession/README.md': 'reference/index',
};
const fronts = [
  { path: 'guides/index', source: 'docs/recipes.md', title: 'Guides' },
  { path: 'reference/index', source: 'packages/koa-wsession/README.md', title: 'Reference' },
].map((page) => ({ ...page, text: documentOf(read(page.source)).intro }));

rmSync(PAGES, { recursive: true, force: true });
for (const page of [...pages.map(withText), ...fronts]) {
  const { path, source, title, text } = page;
  write(`${path}.md`, `# ${title}\n\n${replaceLinks(text, (link) => linkFrom(source, path, link))}\n`);
}
write('index.md', homePage());
writeReference();

function withText(page) {
  const { source, heading } = page;
  const text = read(source);
  if (heading === undefined) return { ...page, title: documentOf(text).title, text: text.replace(/^# .*\n/m, '') };
  const section = documentOf(text).sections.find((one) => one.heading === heading);
  if (!section) throw new Error(`${source} has no section "${heading}"`);
  return { ...page, text: raiseHeadings(section.text) };
}

/** Where a document's link leads on the site: another page, an image beside it, or the file on GitHub. */
function linkFrom(source, path, link) {
  if (/^[a-z]+:/.test(link) && !HOME.test(link)) return link;
  const [file, anchor] = link.replace(HOME, '').split('#');
  const target = file === '' && !HOME.test(link) ? source : join(HOME.test(link) ? '.' : dirname(source), file);
  if (/\.(svg|png)$/.test(target)) return imageFrom(path, target);
  const page = pageOf(target, anchor) ?? pageOf(join(target, 'README.md'), anchor);
  if (!page) return SOURCE + target + (anchor ? `#${anchor}` : '');
  const href = `${relative(dirname(path), page.path)}.md`;
  return href + (page.anchor ? `#${page.anchor}` : '');
}

/** The page that shows an anchor of a document, or else the one that shows its beginning. */
function pageOf(source, anchor) {
  const candidates = pages.filter((page) => page.source === source);
  if (candidates.length === 0) return undefined;
  if (candidates[0].heading === undefined) return { path: candidates[0].path, anchor };
  if (anchor === undefined || anchor === 'readme') return { path: FRONT[source] };
  const sections = documentOf(read(source)).sections;
  const section = sections.find(({ heading, text }) => anchorsOf(`## ${heading}\n${text}`).includes(anchor));
  const found = candidates.find(({ heading }) => heading === section?.heading);
  if (!found) return section ? undefined : { path: FRONT[source] };
  const first = anchorsOf(`# ${found.heading}`)[0] === anchor;
  return { path: found.path, anchor: first ? undefined : anchor };
}

function imageFrom(path, image) {
  const name = `images/${image.split('/').at(-1)}`;
  mkdirSync(`${PAGES}/images`, { recursive: true });
  cpSync(`${ROOT}/${image}`, `${PAGES}/${name}`);
  const href = relative(dirname(path), name);
  return href.startsWith('.') ? href : `./${href}`;
}

function homePage() {
  const { intro, sections } = documentOf(read('README.md'));
  const counter = sections.find(({ heading }) => heading === 'Counter').text;
  const [, program] = /(```js\n\/\/ app.*?```)/s.exec(counter);
  const hero = {
    name: 'koa-wsession',
    text: 'Sessions for Koa',
    tagline: intro.split('\n')[0].replace('Sessions for Koa. ', '').replaceAll('`', ''),
    actions: [
      { theme: 'brand', text: 'Start', link: '/start/install-and-count' },
      { theme: 'alt', text: 'Guides', link: '/guides/' },
      { theme: 'alt', text: 'Reference', link: '/reference/' },
      { theme: 'alt', text: 'Guarantees', link: '/explanations/guarantees' },
    ],
  };
  return `---\nlayout: home\nhero: ${JSON.stringify(hero)}\n---\n\n${program}\n`;
}

/** The API reference, a page for each module. */
function writeReference() {
  const markdown = join(import.meta.dirname, 'node_modules/typedoc-plugin-markdown/dist/index.js');
  const args = ['--plugin', './.build/typedoc-modules.mjs', '--plugin', markdown];
  const options = {
    excludeExternals: true,
    skipErrorChecking: true,
    outputFileStrategy: 'modules',
    readme: 'none',
    entryFileName: 'index',
    hidePageHeader: true,
    hideBreadcrumbs: true,
  };
  for (const [name, value] of Object.entries(options)) args.push(`--${name}`, String(value));
  execFileSync(process.execPath, [`${ROOT}/node_modules/typedoc/bin/typedoc`, ...args, '--logLevel', 'Warn'], {
    ...{ cwd: ROOT, stdio: 'inherit' },
  });
}

function write(name, text) {
  const file = `${PAGES}/${name}`;
  if (existsSync(file)) throw new Error(`Two pages are ${name}`);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
}
