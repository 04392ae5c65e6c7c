import { readFileSync } from 'node:fs';
import ts from 'typescript';
import { ROOT } from './markdown.js';

/*
 * Tables of options, properties and errors, made from the docstrings in the source, and one of what was observed of other
 * libraries, taken from the page that has all of it. A document says which, and where:
 *
 *     <!-- options: packages/store-fs/src/fs-store.ts FsStoreOptions -->
 *     <!-- properties: packages/koa-wsession/src/features/owners.ts OwnedSession -->
 *     <!-- errors: packages/koa-wsession/src/errors.ts -->
 *     <!-- comparison: docs/comparison.md -->
 *
 * `npm run docs:tables` writes what is between that and `<!-- end -->`.
 */
const MARKED = /(<!-- (options|properties|errors|comparison): (\S+) ?(\w*) -->\n).*?(<!-- end -->)/gs;

const TABLES = {
  options: (path: string, name: string) => [['option', 'default', 'meaning'], ...optionRows(path, name)],
  properties: (path: string, name: string) => [['property', 'meaning'], ...propertyRows(path, name)],
  errors: (path: string) => [['code', 'class', 'status', 'when'], ...errorRows(path)],
  comparison: comparisonRows,
} satisfies Record<string, (path: string, name: string) => string[][]>;

/** The document with its tables as the source has them. */
export function fillTables(document: string): string {
  return document.replaceAll(MARKED, (_, begin, kind, path, name, end) => {
    const rows = TABLES[kind as keyof typeof TABLES](path, name);
    rows.splice(1, 0, rows[0]?.map(() => '---') ?? []);
    return `${begin}\n${rows.map((cells) => `| ${cells.join(' | ')} |\n`).join('')}\n${end}`;
  });
}

/** The members of an interface, then those of the interface that it extends, which is the one of all stores. */
function optionRows(path: string, name: string): string[][] {
  const options = interfaceIn(path, name);
  const defaults = defaultsIn(options.getSourceFile());
  const own = options.members.map((option) => {
    const called = nameOf(option);
    const { prose, initial } = splitDefault(docOf(option));
    const actual = defaults.get(called);
    if (actual === undefined ? /^[`\d]/.test(initial) && !initial.includes(' ') : !initial.includes(actual))
      throw new Error(`The default of ${called} is ${actual}, and its docstring says ${initial}`);
    return [`\`${called}\``, /^\d+$/.test(initial) ? `\`${initial}\`` : initial, prose];
  });
  const shared = options.heritageClauses
    ? optionRows('packages/koa-wsession/src/store/options.ts', 'StoreOptions')
    : [];
  return [...own, ...shared];
}

function propertyRows(path: string, name: string): string[][] {
  return interfaceIn(path, name).members.map((member) => [`\`${nameOf(member)}\``, docOf(member)]);
}

/** The strings of a union type, such as the names of the events. */
export function membersOf(path: string, union: string): string[] {
  const type = parse(path)
    .statements.filter(ts.isTypeAliasDeclaration)
    .find(({ name }) => name.text === union)?.type;
  if (!type || !ts.isUnionTypeNode(type)) throw new Error(`${path} has no union ${union}`);
  return type.types.map((one) => ((one as ts.LiteralTypeNode).literal as ts.StringLiteral).text);
}

/** The public names of an interface or a class. */
export function publicNamesOf(path: string, name: string): string[] {
  const found = parse(path).statements.find(
    (one): one is ts.InterfaceDeclaration | ts.ClassDeclaration =>
      (ts.isInterfaceDeclaration(one) || ts.isClassDeclaration(one)) && one.name?.text === name,
  );
  if (!found) throw new Error(`${path} has no ${name}`);
  const members: readonly ts.NamedDeclaration[] = [...found.members];
  const names = members.filter((one) => one.name && !ts.isPrivateIdentifier(one.name)).map(nameOf);
  return [...new Set(names)];
}

function interfaceIn(path: string, name: string): ts.InterfaceDeclaration {
  const found = parse(path)
    .statements.filter(ts.isInterfaceDeclaration)
    .find((one) => one.name.text === name);
  if (!found) throw new Error(`${path} has no interface ${name}`);
  return found;
}

function nameOf(member: ts.NamedDeclaration): string {
  return member.name?.getText() as string;
}

/** The defaults in the code, such as `const { name = 'wsession' } = options`. */
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
  return parse(path).statements.flatMap((error) => {
    if (!ts.isClassDeclaration(error)) return [];
    const text = error.getText();
    const [, code, status = ''] = /'(WSESSION_\w+)'(?:,\s*(\d+))?/.exec(text) ?? [];
    if (!code) return []; // the class that the others extend
    const name = error.name?.text;
    const kind = text.includes('extends TypeError') ? ` (a \`TypeError\`)` : '';
    return [[`\`${code}\``, `\`${name}\`${kind}`, status, docOf(error)]];
  });
}

/** The libraries of the table, as the page calls them. */
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

/** The rows: a title, and the section and the column where the page has the cells. */
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
  return Array.from(text.matchAll(/^\|(.*)\|$/gm), ([, row]) => (row as string).split('|').map((cell) => cell.trim()));
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
