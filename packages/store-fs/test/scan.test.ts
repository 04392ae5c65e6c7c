import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { packRecord } from 'koa-wsession/store';
import { call, errorOf, newAddress, recordOf, useFolder } from './helpers.js';

describe('scan()', () => {
  const folder = useFolder();

  it('returns the addresses of the sessions, in batches, and of no other file', async () => {
    const store = folder.current.store({ fsync: false });
    const addresses = Array.from({ length: 600 }, newAddress).sort();
    mkdirSync(folder.current.path);
    for (const address of addresses) writeFileSync(folder.current.file(address), '');
    await store.index.add(newAddress(), addresses[0] as string, Date.now() + 1000, call());
    for (const name of ['README', `other_${newAddress()}.sess`, `weppy_${newAddress()}.sess.bak`])
      writeFileSync(`${folder.current.path}/${name}`, '');
    const seen = new Set<string>();
    for await (const batch of store.scan(call)) {
      expect(batch).to.have.length.at.most(256);
      for (const address of batch) seen.add(address);
    }
    expect([...seen].sort()).to.deep.equal(addresses);
  });

  it('returns none where there is no folder, and is an error where there is a file', async () => {
    const store = folder.current.store();
    const scan = async () => {
      for await (const batch of store.scan(call)) expect(batch).to.deep.equal([]);
    };
    await scan();
    writeFileSync(folder.current.path, '');
    expect((await errorOf(scan())).code).to.equal('ENOTDIR');
  });

  it('misses no session that is written in the meantime, also on tmpfs', async function () {
    if (!folder.current.mount('100m')) this.skip(); // a file system of one's own takes root
    const store = folder.current.store({ fsync: false });
    // More than the kernel lists in one go.
    const left = new Set(Array.from({ length: 3000 }, newAddress));
    const write = (address: string) => {
      const temporary = folder.current.file(address, '.new');
      writeFileSync(temporary, packRecord(address, recordOf()));
      renameSync(temporary, folder.current.file(address));
    };
    for (const address of left) write(address);
    let isFirst = true;
    for await (const batch of store.scan(call)) {
      for (const address of batch) left.delete(address);
      // tmpfs lists the newest first, and so never comes to them.
      if (isFirst) for (const address of [...left].slice(0, 1000)) write(address);
      isFirst = false;
    }
    expect(left.size).to.equal(0);
  });
});
