import { readFileSync } from 'node:fs';
import ts from 'typescript';
import { ROOT } from './markdown.js';

/*
 * Tables of options and errors, made from the docstrings in the source, and one of what was observed of others, taken
 * from the page with all of it. A document says which, and where:
 *
 *     <!-- options: packages/store-fs/src/fs-store.ts FsStoreOptions -->
 *     <!-- errors: packages/koa-wsession/src/errors.ts -->
 *     <!-- comparison: docs/comparison.md -->
 *
 * and what is between that and `<!-- end -->` is written by `npm run docs:tables`.
 */
const MARKED = /(<!-- (options|errors|comparison): (\S+) ?(\w*) -->\n).*?(<!-- end -->)/gs;

const TABLES = {
  options: (path: string, name: string) => [['option', 'default', 'meaning'], ...optionRows(path, name)],
  errors: (path: string) => [['code', 'class', 'status', 'when'], ...errorRows(path)],
  comparison: comparisonRows,
} satisfies Record<string, (path: string, name: string) => string[][]>;

/** The document with its tables as they have to be. */
export function fillTables(document: string): string {
  return document.replaceAll(MARKED, (_, begin, kind, path, name, end) => {
    const rows = TABLES[kind as keyof typeof TABLES](path, name);
    rows.splice(1, 0, rows[0]?.map(() => '---') ?? []);
    return `${begin}\n${rows.map((cells) => `| ${cells.join(' | ')} |\n`).join('')}\n${end}`;
  });
}

/** Of an interface, and behind its own, of the one that it extends: the one of all stores. */
function optionRows(path: string, name: string): string[][] {
  const source = parse(path);
  const options = source.statements.filter(ts.isInterfaceDeclaration).find((it) => it.name.text === name);
  if (!options) throw new Error(`${path} has no interface ${name}`);
  const defaults = defaultsIn(source);
  const own = options.members.map((option) => {
    const called = option.name?.getText() as string;
    const { prose, initial } = splitDefault(docOf(option));
    const actual = defaults.get(called);
    if (actual === undefined ? /^[`\d]/.test(initial) && !initial.includes(' ') : !initial.includes(actual))
      throw new Error(`The default of ${called} is ${actual}, and its docstring says ${initial}`);
    return [`\`${called}\``, /^\d+$/.test(initial) ? `\`${initial}\`` : initial, prose];
  });
  const shared = options.heritageClauses
    ? optionRows('packages/koa-wsession/src/options.ts', 'StoreOptions')
    : [];
  return [...own, ...shared];
}

/** What `const { name = 'wsession' } = options` says in the code. */
function defaultsIn(source: ts.SourceFile): Map<string, string> {
  const defaults = new Map<string, string>();
  const visit = (node: ts.Node): void => {
    if (ts.isBindingElement(node) && node.initializer && node.parent.parent.getText().endsWith('= options'))
      defaults.set(node.name.getText(), node.initializer.getText());
    node.forEachChild(visit);
  };
  visit(source);
  return defaults;
}

const DEFAULT = /\s*\bDefault:? ((?:`[^`]*`|[^.`])+)\.(?!\S)/;

/** A docstring with and without its sentence `Default 3600.` */
function splitDefault(doc: string): { prose: string; initial: string } {
  return { prose: doc.replace(DEFAULT, '').trim(), initial: DEFAULT.exec(doc)?.[1] ?? 'none' };
}

function errorRows(path: string): string[][] {
  return parse(path).statements.flatMap((it) => {
    if (!ts.isClassDeclaration(it)) return [];
    const text = it.getText();
    const [, code, status = ''] = /'(WSESSION_\w+)'(?:,\s*(\d+))?/.exec(text) ?? [];
    if (!code) return []; // what the others extend
    const name = it.name?.text;
    const kind = text.includes('extends TypeError') ? ` (a \`TypeError\`)` : '';
    return [[`\`${code}\``, `\`${name}\`${kind}`, status, docOf(it)]];
  });
}

/** Whom we are compared with, as the page calls them. */
const COMPARED = [
  '**koa-wsession, RedisStore**',
  '**koa-wsession, FsStore**',
  '**koa-wsession, CookieStore**',
  'koa-session',
  'koa-session + koa-redis',
  'koa-generic-session + koa-redis',
  'express-session + connect-redis',
  'iron-session (on Koa)',
];

/** In what: a row's title, and the section and the column where the page has it. */
const SITUATIONS = [
  ['lost of parallel writes', 'Parallel requests', 'lost'],
  ['back after a logout', 'Logout', 'came back'],
  ["a new visitor's change before an error", 'An error after a change', 'new visitor'],
  ['over 4 KB', 'More than a cookie can hold', 'answer'],
  ['store down: page that leaves the session alone', 'The store is down', 'untouched'],
  ['store down: page that changes it', 'The store is down', 'changed'],
  ['a `Map` comes back as', 'Values', 'Map'],
  ['5xx by hostile cookies', 'Hostile cookies', 'errors'],
] as const;

function comparisonRows(path: string): string[][] {
  const sections = new Map(
    readFileSync(ROOT + path, 'utf8')
      .split(/^## /m)
      .map((section) => [section.slice(0, section.indexOf('\n')), cellsOf(section)]),
  );
  const rows = SITUATIONS.map(([title, section, column]) => {
    const [head, ...body] = sections.get(section) ?? [];
    const at = head?.indexOf(column) ?? -1;
    const cells = COMPARED.map((system) => body.find(([label]) => label === system)?.[at]);
    if (cells.includes(undefined)) throw new Error(`${path} doesn't have all of "${section}: ${column}"`);
    return [title, ...(cells as string[])];
  });
  return [['', ...COMPARED], ...rows];
}

/** The cells of a document's only table. */
function cellsOf(text: string): string[][] {
  return Array.from(text.matchAll(/^\|(.*)\|$/gm), ([, row]) =>
    (row as string).split('|').map((it) => it.trim()),
  );
}

function parse(path: string): ts.SourceFile {
  return ts.createSourceFile(path, readFileSync(ROOT + path, 'utf8'), ts.ScriptTarget.Latest, true);
}

/** A docstring as one line that a table takes. */
function docOf(node: ts.Node): string {
  const doc = ts.getTextOfJSDocComment(ts.getJSDocCommentsAndTags(node).find(ts.isJSDoc)?.comment) ?? '';
  return doc
    .replaceAll(/\{@link (?:\w+\.)?(\w+)\}/g, '`$1`')
    .replaceAll(/\s+/g, ' ')
    .replaceAll('|', '\\|');
}
