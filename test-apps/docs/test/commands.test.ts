import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { expect } from 'chai';
import { ELSEWHERE, ROOT, readDocuments } from 'docs/markdown';

const documents = readDocuments();

describe('The commands in the documents', () => {
  const scriptsOf = (folder: string) => JSON.parse(readFileSync(`${ROOT}${folder}package.json`, 'utf8')).scripts;
  const scripts = scriptsOf('');
  const isKnown = (command: string): boolean => {
    const [program, verb, name = ''] = command.split(' ');
    if (program === 'node') return documents.some(({ text }) => text.includes(`// ${verb}\n`));
    if (program === 'npx') {
      const file = name.replaceAll('"', '').replace(/\*.*/, '');
      return existsSync(`${ROOT}node_modules/.bin/${verb}`) && (!name.includes('/') || existsSync(ROOT + file));
    }
    if (program !== 'npm') return false;
    if (verb === 'pack')
      return Array.from(command.matchAll(/ -w (\S+)/g), ([, folder]) => `${ROOT}${folder}`).every(existsSync);
    const workspace = / -w (\S+)/.exec(command)?.[1];
    if (workspace) return (verb === 'run' ? name : (verb as string)) in scriptsOf(`${workspace}/`);
    if (verb === 'run') return name in scripts;
    if (verb === 'install') return command.split(' ').slice(2).every(isInstalled);
    return verb === 'ci' || verb === 'init' || verb === 'ls' || verb === 'cit' || (verb as string) in scripts;
  };

  for (const { path, blocks, prose } of documents) {
    const quoted = Array.from(prose.matchAll(/`((?:\w+=\S+ )?np[mx] [^`]+)`/g), ([, command]) => command as string);
    const shown = blocks.flatMap(({ language, code }) => (language === 'sh' ? code.trim().split('\n') : []));
    const commands = [...quoted, ...shown]
      .flatMap((line) => line.replace(/\s*#.*/, '').split(' && '))
      .map((command) => command.replace(/^(\w+=(\$\(.*?\)|\S*) )+/, ''));
    if (commands.length > 0)
      it(`exist: ${path}`, () => expect(commands.filter((command) => !isKnown(command))).to.deep.equal([]));
  }

  it('npm run soak includes each test that is longer with SOAK=1', () => {
    const asking = execFileSync('git', ['grep', '-lE', 'env.SOAK [!=]=', '--', '*.test.ts'], { cwd: ROOT });
    const files = String(asking).trim().split('\n');
    const globs = Array.from(scripts.soak.matchAll(/"([^"]+\.test\.js)"/g), ([, glob]) => patternOf(glob));
    const isIncluded = (file: string): boolean =>
      globs.some((glob) => glob.test(file.replace('/test/', '/.test/').replace(/ts$/, 'js')));
    expect(files).not.to.be.empty;
    expect(files.filter((file) => !isIncluded(file))).to.deep.equal([]);
  });
});

/** What a glob of `*` and `**` matches. */
function patternOf(glob: string): RegExp {
  const pattern = glob.replaceAll('.', '\\.').replaceAll('**/', '(?:@/)?').replaceAll('*', '[^/]*');
  return new RegExp(`^${pattern.replaceAll('@', '.*')}$`);
}

/** Options, the packages of this repository as tarballs, and packages that exist. */
function isInstalled(name: string): boolean {
  return (
    /^-|^…$|\.tgz$/.test(name) || ELSEWHERE.includes(name) || existsSync(`${ROOT}node_modules/${name}/package.json`)
  );
}
