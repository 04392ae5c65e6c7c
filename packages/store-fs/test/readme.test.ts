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
    const [version, createdAt = 0, untilUpdated = 0, untilExpiry = 0, revision, ...lengths] = line
      .split(',')
      .map(Number);
    const updatedAt = createdAt + untilUpdated;
    expect([version, revision]).to.deep.equal([3, 1]);
    expect({ ...record, createdAt, updatedAt, expiresAt: updatedAt + untilExpiry }).to.deep.equal(record);
    expect(lengths).to.deep.equal([43, 4, 5]);
  });
});
