import { existsSync, statSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { expect } from 'chai';
import { type Document, ROOT, readDocuments } from 'docs/markdown';

/** What stands for this repository in the READMEs that npm shows. */
const HOME = /^https:\/\/github\.com\/koa-wsession\/koa-wsession\/(?:blob|tree)\/main\//;

describe('The links in the documents', () => {
  const documents = new Map(readDocuments().map((document) => [document.path, document]));

  for (const document of documents.values()) {
    const links = linksOf(document).filter((link) => HOME.test(link) || !/^[a-z]+:/.test(link));
    if (links.length > 0)
      it(`lead somewhere: ${document.path}`, () =>
        expect(links.filter((link) => !leadsSomewhere(document, link))).to.deep.equal([]));
  }

  function leadsSomewhere(from: Document, link: string): boolean {
    const [file = '', anchor] = link.replace(HOME, '').split('#');
    const folder = HOME.test(link) ? '.' : dirname(from.path);
    const path = file === '' ? from.path : relative('.', join(folder, file));
    if (!existsSync(ROOT + path)) return false;
    if (anchor === undefined) return true;
    const target = statSync(ROOT + path).isDirectory() ? join(path, 'README.md') : path;
    return anchor === 'readme' || anchorsOf(documents.get(target)).includes(anchor);
  }
});

function linksOf({ prose }: Document): string[] {
  const text = prose.replaceAll(/`[^`\n]*`/g, '');
  return Array.from(
    text.matchAll(/\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)/gm),
    ([, inline, below]) => inline ?? below ?? '',
  );
}

/** The headings' anchors, as GitHub makes them. */
function anchorsOf(document: Document | undefined): string[] {
  const headings = document?.prose.matchAll(/^#+ (.+)$/gm) ?? [];
  return Array.from(headings, ([, heading = '']) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
      .replaceAll(' ', '-'),
  );
}
