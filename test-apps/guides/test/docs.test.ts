import { readdirSync, readFileSync } from 'node:fs';
import { expect } from 'chai';

const ROOT = new URL('../../../', import.meta.url);
const read = (path: string): string => readFileSync(new URL(path, ROOT), 'utf8');

/** A comment with the path of a file, and the block of code below it. */
const SHOWN = /<!-- (test-apps\/\S+) -->\n```ts\n(.*?)```/gs;

describe('the guides', () => {
  const pages = readdirSync(new URL('docs/', ROOT), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md') && !name.startsWith('.'))
    .map((name) => ({ path: `docs/${name}`, shown: [...read(`docs/${name}`).matchAll(SHOWN)] }));

  for (const { path, shown } of pages.filter(({ shown }) => shown.length > 0))
    it(`in ${path} show the code that is tested`, () => {
      for (const [, file = '', code] of shown) expect(code, file).to.equal(read(file));
    });

  it('show each piece of code that is tested', () => {
    const files = readdirSync(new URL('test-apps/guides/src/', ROOT)).map((name) => `test-apps/guides/src/${name}`);
    const shown = pages.flatMap((page) => page.shown.map(([, file]) => file));
    expect(shown).to.include.members(files);
  });
});
