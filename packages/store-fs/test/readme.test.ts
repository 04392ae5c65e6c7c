import { mkdirSync, readFileSync } from 'node:fs';
import { expect } from 'chai';
import { call, newAddress, recordOf, useFolder } from './helpers.js';

describe('the README', () => {
  const folder = useFolder();

  it("says what a file's first line holds", async () => {
    const store = folder.current.store();
    mkdirSync(folder.current.path);
    const [address, record] = [newAddress(), recordOf({ name: '"Ada"' })];
    await store.create(address, record, call());
    const [line = ''] = readFileSync(folder.current.file(address), 'utf8').split('\n');
    const [version, createdAt, expiresAt, ...lengths] = line
      .split(',')
      .map((text) => Number.parseInt(text, 36));
    expect([version, createdAt, expiresAt]).to.deep.equal([1, record.createdAt, record.expiresAt]);
    expect(lengths).to.deep.equal([43, 4, 5]);
  });
});
