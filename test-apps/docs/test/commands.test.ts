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
    return verb === 'ci' || verb === 'ls' || verb === 'cit' || (verb as string) in scripts;
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
});

/** Options, the packages of this repository as tarballs, and packages that exist. */
function isInstalled(name: string): boolean {
  return (
    /^-|^…$|\.tgz$/.test(name) || ELSEWHERE.includes(name) || existsSync(`${ROOT}node_modules/${name}/package.json`)
  );
}
