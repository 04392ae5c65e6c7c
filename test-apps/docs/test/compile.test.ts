import { expect } from 'chai';
import { type Block, type Document, isCode, ROOT, readDocuments } from 'docs/markdown';
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
        expect(problems.filter((it) => it.startsWith(`${path}:`))).to.deep.equal([]));

  it('is marked as one of what is tested, or as text', () => {
    const languages = new Set(documents.flatMap(({ blocks }) => blocks.map(({ language }) => language)));
    expect(['js', 'ts', 'sh', 'console', 'text']).to.include.members([...languages]);
  });
});

/**
 * The errors of all blocks, as `path:line: message`, compiled together with what the prelude declares. What a block
 * exports is at hand in those below it.
 */
function compile(documents: readonly Document[]): string[] {
  const sources = new Map<string, { path: string; block: Block }>();
  // Beside its document, so that a block finds what a file there would find.
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

  const options: ts.CompilerOptions = {
    ...{ target: ts.ScriptTarget.ES2023, module: ts.ModuleKind.NodeNext, types: ['node', 'mocha'] },
    ...{ strict: true, useUnknownInCatchVariables: false, skipLibCheck: true },
    ...{ allowJs: true, checkJs: true, noEmit: true },
    paths: { redis: [`${ROOT}node_modules/redis6/dist/index.d.ts`] }, // installed under a name with its version
  };
  const host = ts.createCompilerHost(options);
  const { fileExists, readFile, getSourceFile } = host;
  host.fileExists = (name) => sources.has(name) || fileExists(name);
  host.readFile = (name) => sources.get(name)?.block.code ?? readFile(name);
  host.getSourceFile = (name, version, ...rest) => {
    const source = sources.get(name);
    return source
      ? ts.createSourceFile(name, source.block.code, version)
      : getSourceFile(name, version, ...rest);
  };
  const prelude = `${ROOT}test-apps/docs/test/fixtures/prelude.d.ts`;
  const program = ts.createProgram([...sources.keys(), prelude], options, host);
  return ts.getPreEmitDiagnostics(program).flatMap(({ file, start = 0, code, messageText }) => {
    const source = file && sources.get(file.fileName);
    if (source?.block.language === 'js' && code >= 7000 && code < 7100) return []; // JavaScript has no types to give
    const message = ts.flattenDiagnosticMessageText(messageText, ' ');
    if (!source) throw new Error(`${file?.fileName}: ${message}`);
    return [
      `${source.path}:${source.block.line + file.getLineAndCharacterOfPosition(start).line}: ${message}`,
    ];
  });
}
