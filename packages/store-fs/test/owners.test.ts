import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import sinon from 'sinon';
import { call, errorOf, HOUR, newAddress, recordOf, useFolder } from './helpers.js';

describe('the sessions of an owner', () => {
  const folder = useFolder();
  const inAnHour = () => Date.now() + HOUR;

  it('are in a file of their own, which is there while they are', async () => {
    const { owners } = folder.current.store();
    const [ada, one, two] = [newAddress(), newAddress(), newAddress()];
    await owners.add(ada, one, inAnHour(), call());
    await owners.add(ada, two, inAnHour(), call());
    expect(folder.current.names).to.deep.equal([`weppy_${ada}.sess.owner`]);
    expect(statSync(folder.current.file(ada, '.owner')).mode & 0o777).to.equal(0o600);
    await owners.remove(ada, one, call());
    expect(await owners.keys(ada, call())).to.deep.equal([two]);
    await owners.remove(ada, two, call());
    expect(folder.current.names).to.deep.equal([]);
    expect(await owners.keys(ada, call())).to.deep.equal([]);
  });

  it('are no session, and a session is no owner', async () => {
    const store = folder.current.store();
    const [ada, key] = [newAddress(), newAddress()];
    await store.owners.add(ada, key, inAnHour(), call());
    await store.create(key, recordOf(), call());
    expect(await store.load(ada)).to.equal(undefined);
    expect(await store.destroy(ada, call())).to.equal(undefined);
    expect(await store.owners.keys(key, call())).to.deep.equal([]);
  });

  it('are not written again for nothing', async () => {
    const { owners } = folder.current.store();
    const [ada, key, until] = [newAddress(), newAddress(), inAnHour()];
    const inode = () => statSync(folder.current.file(ada, '.owner')).ino;
    await owners.add(ada, key, until, call());
    const before = inode();
    await owners.add(ada, key, until - 1, call());
    await owners.remove(ada, newAddress(), call());
    expect(inode()).to.equal(before);
    await owners.add(ada, key, until + 1, call());
    expect(inode()).not.to.equal(before);
  });

  it('are all there, also when many processes add to them at once', async () => {
    const others = await Promise.all([1, 2].map(() => folder.current.other({ fsync: false })));
    const ada = newAddress();
    const keys = Array.from({ length: 60 }, newAddress).sort();
    await Promise.all(keys.map((key, i) => others[i % 2]?.ask('addToOwner', ada, key, inAnHour())));
    expect((await folder.current.store().owners.keys(ada, call())).toSorted()).to.deep.equal(keys);
  });

  it('are exactly those that stay, also when two processes add and remove at once', async () => {
    const others = await Promise.all([1, 2].map(() => folder.current.other({ fsync: false })));
    const [ada, keys] = [newAddress(), Array.from({ length: 40 }, newAddress)];
    const stay = keys.filter((_, i) => i % 4 < 2).sort();
    await Promise.all(
      keys.map(async (key, i) => {
        await others[i % 2]?.ask('addToOwner', ada, key, inAnHour());
        if (!stay.includes(key)) await others[(i + 1) % 2]?.ask('removeFromOwner', ada, key);
      }),
    );
    const found = await folder.current.store().owners.keys(ada, call());
    expect(found.toSorted()).to.deep.equal(stay);
    expect(folder.current.names, 'nothing left behind').to.deep.equal([`weppy_${ada}.sess.owner`]);
  });

  it('are none when the folder is deleted, and the next one makes it again', async () => {
    const { owners } = folder.current.store();
    const [ada, key] = [newAddress(), newAddress()];
    await owners.add(ada, key, inAnHour(), call());
    rmSync(folder.current.path, { recursive: true });
    expect(await owners.keys(ada, call())).to.deep.equal([]);
    await owners.remove(ada, key, call());
    rmSync(folder.current.path, { recursive: true });
    await owners.add(ada, key, inAnHour(), call());
    expect(await owners.keys(ada, call())).to.deep.equal([key]);
  });

  it('are not named until an earlier instant than was given', async () => {
    const { owners } = folder.current.store();
    const [ada, key] = [newAddress(), newAddress()];
    await Promise.all([inAnHour(), 1, inAnHour() - 1].map((until) => owners.add(ada, key, until, call())));
    expect(await owners.keys(ada, call())).to.deep.equal([key]);
  });

  it('are forgotten one by one, and swept when all are over', async () => {
    const store = folder.current.store();
    const [ada, one, two] = [newAddress(), newAddress(), newAddress()];
    await store.owners.add(ada, one, inAnHour(), call());
    await store.owners.add(ada, two, inAnHour() + HOUR + 0.5, call());
    const clock = sinon.useFakeTimers({ toFake: ['Date'], now: inAnHour() + 1000 });
    try {
      expect(await store.owners.keys(ada, call())).to.deep.equal([two]);
      expect(await store.sweep()).to.equal(0);
      clock.tick(HOUR);
      expect(await store.owners.keys(ada, call())).to.deep.equal([]);
      expect(await store.sweep()).to.equal(1);
      expect(folder.current.names).to.deep.equal([]);
    } finally {
      clock.restore();
    }
  });

  it('can not be told from a damaged file: an error, until the next is added', async () => {
    const { owners } = folder.current.store();
    const [ada, one, two] = [newAddress(), newAddress(), newAddress()];
    await owners.add(ada, one, inAnHour(), call());
    writeFileSync(
      folder.current.file(ada, '.owner'),
      readFileSync(folder.current.file(ada, '.owner')).subarray(1),
    );
    expect((await errorOf(owners.keys(ada, call()) as Promise<unknown>)).message).to.match(/damaged/);
    await owners.add(ada, two, inAnHour(), call());
    expect(await owners.keys(ada, call())).to.deep.equal([two]);
  });

  for (const owner of ['../x', 'a\0b', '', 'x'.repeat(44)]) {
    it(`under a key that is no address there are none: ${JSON.stringify(owner)}`, async () => {
      const { owners } = folder.current.store();
      expect(await owners.keys(owner, call())).to.deep.equal([]);
      await owners.remove(owner, newAddress(), call());
      const added = owners.add(owner, newAddress(), inAnHour(), call()) as Promise<unknown>;
      expect(await errorOf(added)).to.be.an.instanceOf(TypeError);
      expect(folder.current.names).to.deep.equal([]);
    });
  }
});
