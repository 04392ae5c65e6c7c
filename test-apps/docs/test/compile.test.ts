import { expect } from 'chai';
import { type Block, type Document, isCode, missingIn, ROOT, readDocuments } from 'docs/markdown';
import ts from 'typescript';

const documents = readDocuments();

describe('The code in the documents', () => {
  let problems: string[];
  before(function () {
    this.timeout(60_000);
    problems = compile(documents);
  });

  for (const { path, blocks } of documents)
    if (blocks.some(isCode))
      it(`compiles: ${path}`, () =>
        expect(problems.filter((problem) => problem.startsWith(`${path}:`))).to.deep.equal([]));

  it('has a language that is tested, or is text', () => {
    const languages = new Set(documents.flatMap(({ blocks }) => blocks.map(({ language }) => language)));
    expect(['js', 'ts', 'sh', 'sql', 'console', 'nginx', 'caddy', 'text']).to.include.members([...languages]);
  });
});

/** In place of @koa/bodyparser's types, which make every `ctx.request.body` unknown: documents are mostly JavaScript. */
const BODY_PARSER = `${ROOT}body-parser.d.ts`;
const UNTYPED_BODY = "export declare function bodyParser(): import('koa').Middleware;";

/**
 * The errors of all blocks, as `path:line: message`, compiled together with the prelude. The exports of a block can be
 * used in the blocks below it.
 */
function compile(documents: readonly Document[]): string[] {
  const sources = sourcesOf(documents);
  const options: ts.CompilerOptions = {
    ...{ target: ts.ScriptTarget.ES2023, module: ts.ModuleKind.NodeNext, types: ['node', 'mocha'] },
    ...{ strict: true, useUnknownInCatchVariables: false, skipLibCheck: true },
    ...{ allowJs: true, checkJs: true, noEmit: true },
    paths: {
      redis: [`${ROOT}node_modules/redis6/dist/index.d.ts`], // installed under a name with its version
      '@koa/bodyparser': [BODY_PARSER],
    },
  };
  const host = ts.createCompilerHost(options);
  const { fileExists, readFile, getSourceFile } = host;
  host.fileExists = (name) => sources.has(name) || name === BODY_PARSER || fileExists(name);
  host.readFile = (name) => sources.get(name)?.block.code ?? (name === BODY_PARSER ? UNTYPED_BODY : readFile(name));
  host.getSourceFile = (name, version, ...rest) => {
    const source = sources.get(name);
    return source ? ts.createSourceFile(name, source.block.code, version) : getSourceFile(name, version, ...rest);
  };
  const prelude = `${ROOT}test-apps/docs/test/fixtures/prelude.d.ts`;
  const program = ts.createProgram([...sources.keys(), prelude], options, host);
  return ts.getPreEmitDiagnostics(program).flatMap(({ file, start = 0, code, messageText }) => {
    const source = file && sources.get(file.fileName);
    if (source?.block.language === 'js' && code >= 7000 && code < 7100) return []; // JavaScript declares no types
    if (
      source &&
      code === 2307 &&
      [...missingIn(source.block), './app.js'].some((name) => String(messageText).includes(`'${name}'`))
    )
      return []; // not installed here, or the reader's own file
    const message = ts.flattenDiagnosticMessageText(messageText, ' ');
    if (!source) throw new Error(`${file?.fileName}: ${message}`);
    return [`${source.path}:${source.block.line + file.getLineAndCharacterOfPosition(start).line}: ${message}`];
  });
}

/** The blocks by the file that each is compiled as. */
function sourcesOf(documents: readonly Document[]): Map<string, { path: string; block: Block }> {
  const sources = new Map<string, { path: string; block: Block }>();
  // Next to its document, so that imports resolve as in a file there.
  for (const { path, blocks } of documents) {
    const exported = new Map<string, string>();
    for (const block of blocks.filter(isCode)) {
      const file = `${ROOT}${path}.${block.line}.m${block.language}`;
      const imports = Array.from(exported, ([name, from]) =>
        block.code.includes(name) ? `import { ${name} } from '${from}';` : '',
      );
      sources.set(file, { path, block: { ...block, code: block.code + imports.join('') } });
      for (const [, name = ''] of block.code.matchAll(/^export (?:async )?\w+ (\w+)/gm))
        exported.set(name, file.replace(/ts$/, 'js'));
    }
  }
  return sources;
}
