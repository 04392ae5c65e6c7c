import { readdirSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { documentOf, slugOf } from './document.mjs';

export const ROOT = resolve(import.meta.dirname, '../..');

/*
 * The order of the site: groups of pages. A page is a document, or one section of a document (`heading`), which the
 * site shows as a page of its own. New documents in docs/ and new packages get their page without an entry here.
 */
const REFERENCE = 'packages/koa-wsession/README.md';
const EXPLAINED = ['how-it-works', 'sessions-or-tokens', 'comparison', 'performance', 'reliability'];

const read = (path) => readFileSync(`${ROOT}/${path}`, 'utf8');
const sections = (source, titles) =>
  Object.entries(titles).map(([heading, title]) => ({
    source,
    heading,
    title,
    slug: slugOf(title.replaceAll(/\b[.(]/g, '-')),
  }));
const whole = (source, slug, title) => ({ source, slug, title: title ?? documentOf(read(source)).title });

/** The groups of the sidebar: `{ text, folder, pages }`, where a page is `{ path, source, heading?, title }`. */
export function readOutline() {
  const documents = readdirSync(`${ROOT}/docs`)
    .filter((name) => name.endsWith('.md') && name !== 'recipes.md')
    .map((name) => name.slice(0, -3));
  const stores = readdirSync(`${ROOT}/packages`).filter((name) => name !== 'koa-wsession');
  const listed = recipes(documents);
  const isListed = (name) => listed.some(({ pages }) => pages.some(({ source }) => source === `docs/${name}.md`));
  const guides = documents.filter((name) => !EXPLAINED.includes(name));
  const decisions = linksOf('docs/decisions/README.md');
  const libraries = linksOf('docs/migrating/README.md');
  const groups = [
    group('Start', 'start', [
      ...sections('README.md', {
        Counter: 'Install and count',
        'Login and logout': 'Login and logout',
        Production: 'Production checklist',
        Stores: 'Choose a store',
      }),
    ]),
    ...listed.map(({ text, pages }) => group(`Guides: ${text.toLowerCase()}`, 'guides', pages)),
    group(
      'Guides: more',
      'guides',
      guides.filter((name) => !isListed(name)).map((name) => whole(`docs/${name}.md`, name)),
    ),
    group('Guides: migrating', 'guides/migrating', [
      whole('docs/migrating/README.md', 'index', 'Overview'),
      ...libraries.map((name) => whole(`docs/migrating/${name}`, name.slice(0, -3))),
    ]),
    group('Reference', 'reference', [
      ...sections(REFERENCE, {
        Options: 'Options',
        'Around a store': 'Encryption and near cache',
        'The session': 'ctx.session',
        '`sessions.of(ctx)`': 'sessions.of(ctx)',
        'All sessions': 'All sessions',
        Events: 'Events',
        Errors: 'Errors',
        'A store of your own': 'A store of your own',
      }),
      ...stores.map((name) => whole(`packages/${name}/README.md`, name)),
    ]),
    group('Explanations', 'explanations', [
      ...EXPLAINED.slice(0, 1).map((name) => whole(`docs/${name}.md`, name)),
      ...sections('README.md', { Guarantees: 'Guarantees' }),
      whole('SECURITY.md', 'security'),
      ...EXPLAINED.slice(1).map((name) => whole(`docs/${name}.md`, name)),
      whole('CONTRIBUTING.md', 'contributing'),
    ]),
    group('Design decisions', 'explanations/decisions', [
      whole('docs/decisions/README.md', 'index', 'Overview'),
      ...decisions.map((name) => whole(`docs/decisions/${name}`, name.slice(0, -3))),
    ]),
  ];
  return groups.filter(({ pages }) => pages.length > 0);
}

/** The documents that one links to, in the same folder. */
function linksOf(source) {
  return documentOf(read(source)).links.filter((link) => /^[\w-]+\.md$/.test(link));
}

/** The groups of guides, as the list at the top of the recipes has them. Sections that it leaves out come last. */
function recipes(documents) {
  const recipe = (heading) => ({ source: 'docs/recipes.md', heading, title: heading, slug: slugOf(heading) });
  const { intro, sections } = documentOf(read('docs/recipes.md'));
  const titles = new Map(sections.map(({ heading }) => [`#${slugOf(heading)}`, heading]));
  const groups = Array.from(intro.matchAll(/^\*\*(.+?)\*\*: (.*)$/gm), ([, text, line]) => ({
    text,
    pages: Array.from(line.matchAll(/\]\(([^)]+)\)/g), ([, link]) => take(link)).filter(Boolean),
  }));
  return [...groups, { text: 'other recipes', pages: Array.from(titles.values(), recipe) }];

  /** A section of the recipes, or a document next to it. */
  function take(link) {
    if (documents.includes(link.slice(0, -3))) return whole(`docs/${link}`, link.slice(0, -3));
    const heading = titles.get(link);
    titles.delete(link);
    return heading && recipe(heading);
  }
}

function group(text, folder, pages) {
  return { text, folder, pages: pages.map(({ slug, ...page }) => ({ ...page, path: `${folder}/${slug}` })) };
}
