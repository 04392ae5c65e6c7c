import { readdirSync, readFileSync } from 'node:fs';
import { expect } from 'chai';

const ROOT = new URL('../../../', import.meta.url);
const read = (path: string): string => readFileSync(new URL(path, ROOT), 'utf8');

describe('the guides', () => {
  const libraries = readdirSync(new URL('docs/migrating', ROOT)).filter((name) => name !== 'README.md');
  const pages = ['docs/standards.md', 'docs/tracing.md', ...libraries.map((name) => `docs/migrating/${name}`)];
  for (const page of pages) {
    it(`in ${page} show the code that is tested`, () => {
      const text = read(page);
      const shown = [...text.matchAll(/<!-- (\S+) -->\n```ts\n(.*?)```/gs)];
      expect(shown.length).to.equal(text.match(/```ts/g)?.length);
      for (const [, path = '', code] of shown) expect(code, path).to.equal(read(path));
    });
  }
});
