// Prints the sizes of the packages, and fails where one exceeds its limit: `npm run structure`.
//
// Lines of code are those that are neither blank nor comment, in each package's src; the conformance suite counts apart.
// Functions are measured from their first line to their last, blanks and comments left out. Imports count however they
// are written, `import type` included.
//
// No function that is written out is assigned to a property (`response.end = () => …`): V8 makes such a function for the old
// generation, and keeps with it everything that it refers to, such as the whole request. (Its parser takes it for a method.)
// Of a request that reads a session, one such function had 700 bytes outlive a collection in place of 20; `npm run bench --
// --allocations --systems memory --works read` shows it.
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import ts from 'typescript';
import { filesOfACounterRequest } from './counter-files.mjs';

const root = resolve(import.meta.dirname, '..');
const LIMITS = {
  packages: { 'koa-wsession': 4915, 'store-cookie': 334, 'store-fs': 700, 'store-redis': 737, 'store-postgres': 320 },
  file: 260,
  function: 45,
  counterFiles: 23,
};

const files = readdirSync(join(root, 'packages'), { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
  .map((entry) => relative(root, join(entry.parentPath, entry.name)))
  .filter((path) => /^packages\/[\w-]+\/src\//.test(path) && !path.endsWith('.d.ts'))
  .sort()
  .map(measure);

/** The lines of code and the functions of one file, and what it imports of its own package. */
function measure(path) {
  const text = readFileSync(join(root, path), 'utf8');
  const source = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
  const lines = linesOfCode(source, text);
  const functions = [];
  const imports = [];
  const assigned = [];
  const visit = (node) => {
    if (ts.isFunctionLike(node) && node.body) functions.push({ name: nameOf(node), lines: count(node, source, lines) });
    if (isFunctionForProperty(node))
      assigned.push(`${path}:${source.getLineAndCharacterOfPosition(node.pos).line + 1}`);
    const isImport = ts.isImportDeclaration(node) || ts.isExportDeclaration(node);
    const from = isImport ? node.moduleSpecifier?.text : undefined;
    if (from?.startsWith('.')) imports.push(relative(root, resolve(root, dirname(path), from)).replace(/\.js$/, '.ts'));
    ts.forEachChild(node, visit);
  };
  visit(source);
  return { path, lines: lines.size, functions, imports, assigned };
}

/** `object.property = function …`, with any of the operators that assign. */
function isFunctionForProperty(node) {
  if (!ts.isBinaryExpression(node) || !ts.isAssignmentOperator(node.operatorToken.kind)) return false;
  const value = ts.skipOuterExpressions(node.right);
  return ts.isAccessExpression(node.left) && (ts.isArrowFunction(value) || ts.isFunctionExpression(value));
}

/** The numbers of the lines on which a token stands. */
function linesOfCode(source, text) {
  const lines = new Set();
  const visit = (node) => {
    if (ts.isJSDoc(node) || node.kind === ts.SyntaxKind.EndOfFileToken) return;
    const children = node.getChildren(source);
    if (children.length > 0) {
      children.forEach(visit);
      return;
    }
    const first = source.getLineAndCharacterOfPosition(node.getStart(source)).line;
    const last = source.getLineAndCharacterOfPosition(node.getEnd()).line;
    const all = text.split('\n');
    for (let line = first; line <= last; line++) if (all[line].trim() !== '') lines.add(line);
  };
  visit(source);
  return lines;
}

function count(node, source, lines) {
  const first = source.getLineAndCharacterOfPosition(node.getStart(source)).line;
  const last = source.getLineAndCharacterOfPosition(node.getEnd()).line;
  return [...lines].filter((line) => line >= first && line <= last).length;
}

function nameOf(node) {
  return node.name?.getText() ?? (node.parent?.name ? node.parent.name.getText() : '(anonymous)');
}

/** The import circles, each once. */
function circles() {
  const byPath = new Map(files.map((file) => [file.path, file]));
  const found = new Map();
  const walk = (path, trail) => {
    const at = trail.indexOf(path);
    if (at >= 0) {
      const circle = trail.slice(at);
      found.set([...circle].sort().join(), [...circle, path]);
      return;
    }
    for (const next of byPath.get(path)?.imports ?? []) walk(next, [...trail, path]);
  };
  for (const { path } of files) walk(path, []);
  return [...found.values()];
}

let failed = false;
function report(what, value, limit, where = '') {
  const ok = value <= limit;
  if (!ok) failed = true;
  console.log(`${ok ? ' ' : '!'} ${what.padEnd(34)} ${String(value).padStart(5)} of ${limit} ${where}`);
}

const isConformance = (path) => path.includes('/src/conformance/');
for (const [name, limit] of Object.entries(LIMITS.packages)) {
  const own = files.filter(({ path }) => path.startsWith(`packages/${name}/`) && !isConformance(path));
  if (own.length > 0)
    report(
      `lines of code of ${name}`,
      own.reduce((sum, file) => sum + file.lines, 0),
      limit,
      `in ${own.length} files`,
    );
}
const suite = files.filter(({ path }) => isConformance(path));
console.log(`  lines of code of the conformance suite ${suite.reduce((sum, file) => sum + file.lines, 0)}`);
const largest = files.reduce((a, b) => (b.lines > a.lines ? b : a));
report('largest file', largest.lines, LIMITS.file, largest.path);
const functions = files
  .filter(({ path }) => !isConformance(path))
  .flatMap((file) => file.functions.map((one) => ({ ...one, path: file.path })));
const longest = functions.reduce((a, b) => (b.lines > a.lines ? b : a));
report('longest function', longest.lines, LIMITS.function, `${longest.name} in ${longest.path}`);
const found = circles();
report('import circles', found.length, 0, found.map((circle) => `\n    ${circle.join(' → ')}`).join(''));
const assigned = files.filter(({ path }) => !isConformance(path)).flatMap((file) => file.assigned);
report('functions written for a property', assigned.length, 0, assigned.join(', '));
const called = await filesOfACounterRequest();
report('files that a counter request calls', called.length, LIMITS.counterFiles, `\n    ${called.join('\n    ')}`);
process.exitCode = failed ? 1 : 0;
