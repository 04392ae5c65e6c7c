import { expect } from 'chai';
import { readDocuments } from 'docs/markdown';
import { fillTables } from 'docs/tables';

describe('The tables in the documents', () => {
  for (const { path, text } of readDocuments().filter(({ text }) => text.includes('<!-- end -->')))
    it(`are what the source says: ${path} (else: npm run docs:tables)`, () => expect(text).to.equal(fillTables(text)));
});
