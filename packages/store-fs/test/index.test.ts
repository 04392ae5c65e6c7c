import { mkdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { packRecord } from 'koa-wsession/store';
import sinon from 'sinon';
import { call, errorOf, HOUR, newAddress, recordOf, useFolder } from './helpers.js';

describe('index: the sessions of a group', () => {
  const folder = useFolder();
  const inAnHour = () => Date.now() + HOUR;

  it('are in a file of their own, which is there while they are', async () => {
    const { index } = folder.current.store();
    const [ada, one, two] = [newAddress(), newAddress(), newAddress()];
    await index.add(ada, one, inAnHour(), call());
    await index.add(ada, two, inAnHour(), call());
    expect(folder.current.names).to.deep.equal([`weppy_${ada}.sess.index`]);
    expect(statSync(folder.current.file(ada, '.index')).mode & 0o777).to.equal(0o600);
    await index.remove(ada, one, call());
    expect(await index.keys(ada, call())).to.deep.equal([two]);
    await index.remove(ada, two, call());
    expect(folder.current.names).to.deep.equal([]);
    expect(await index.keys(ada, call())).to.deep.equal([]);
  });

  it('are no session, and a session is no group', async () => {
    const store = folder.current.store();
    const [ada, key] = [newAddress(), newAddress()];
    await store.index.add(ada, key, inAnHour(), call());
    await store.create(key, recordOf(), call());
    expect(await store.load(ada, call())).to.equal(undefined);
    expect(await store.destroy(ada, call())).to.deep.equal({ outcome: 'none' });
    expect(await store.index.keys(key, call())).to.deep.equal([]);
  });

  it('are not written again for nothing', async () => {
    const { index } = folder.current.store();
    const [ada, key, until] = [newAddress(), newAddress(), inAnHour()];
    const inode = () => statSync(folder.current.file(ada, '.index')).ino;
    await index.add(ada, key, until, call());
    const before = inode();
    await index.add(ada, key, until - 1, call());
    await index.remove(ada, newAddress(), call());
    expect(inode()).to.equal(before);
    await index.add(ada, key, until + 1, call());
    expect(inode()).not.to.equal(before);
  });

  it('are all there, also when many processes add to them at once', async () => {
    const others = await Promise.all([1, 2].map(() => folder.current.other({ fsync: false })));
    const ada = newAddress();
    const keys = Array.from({ length: 60 }, newAddress).sort();
    await Promise.all(keys.map((key, i) => others[i % 2]?.ask('addToIndex', ada, key, inAnHour())));
    expect((await folder.current.store().index.keys(ada, call())).toSorted()).to.deep.equal(keys);
  });

  it('are exactly those that stay, also when two processes add and remove at once', async () => {
    const others = await Promise.all([1, 2].map(() => folder.current.other({ fsync: false })));
    const [ada, keys] = [newAddress(), Array.from({ length: 40 }, newAddress)];
    const stay = keys.filter((_, i) => i % 4 < 2).sort();
    await Promise.all(
      keys.map(async (key, i) => {
        await others[i % 2]?.ask('addToIndex', ada, key, inAnHour());
        if (!stay.includes(key)) await others[(i + 1) % 2]?.ask('removeFromIndex', ada, key);
      }),
    );
    const found = await folder.current.store().index.keys(ada, call());
    expect(found.toSorted()).to.deep.equal(stay);
    expect(folder.current.names, 'nothing left behind').to.deep.equal([`weppy_${ada}.sess.index`]);
  });

  it('are none when the folder is deleted, and the next one makes it again', async () => {
    const { index } = folder.current.store();
    const [ada, key] = [newAddress(), newAddress()];
    await index.add(ada, key, inAnHour(), call());
    rmSync(folder.current.path, { recursive: true });
    expect(await index.keys(ada, call())).to.deep.equal([]);
    await index.remove(ada, key, call());
    rmSync(folder.current.path, { recursive: true });
    await index.add(ada, key, inAnHour(), call());
    expect(await index.keys(ada, call())).to.deep.equal([key]);
  });

  it('are not named until an earlier instant than was given', async () => {
    const { index } = folder.current.store();
    const [ada, key] = [newAddress(), newAddress()];
    await Promise.all([inAnHour(), 1, inAnHour() - 1].map((until) => index.add(ada, key, until, call())));
    expect(await index.keys(ada, call())).to.deep.equal([key]);
  });

  it('are forgotten one by one, and swept when all are over', async () => {
    const store = folder.current.store();
    const [ada, one, two] = [newAddress(), newAddress(), newAddress()];
    await store.index.add(ada, one, inAnHour(), call());
    await store.index.add(ada, two, inAnHour() + HOUR + 0.5, call());
    const clock = sinon.useFakeTimers({ toFake: ['Date'], now: inAnHour() + 1000 });
    try {
      expect(await store.index.keys(ada, call())).to.deep.equal([two]);
      expect(await store.sweep()).to.equal(0);
      clock.tick(HOUR);
      expect(await store.index.keys(ada, call())).to.deep.equal([]);
      expect(await store.sweep()).to.equal(1);
      expect(folder.current.names).to.deep.equal([]);
    } finally {
      clock.restore();
    }
  });

  describe('in a damaged file', () => {
    const damage = async () => {
      const store = folder.current.store();
      const [ada, lost] = [newAddress(), newAddress()];
      await store.index.add(ada, lost, inAnHour(), call());
      const path = folder.current.file(ada, '.index');
      writeFileSync(path, readFileSync(path).subarray(1));
      return { store, ada, path, keys: () => store.index.keys(ada, call()) as Promise<unknown> };
    };

    it('are an error that names the file, also after sweeps', async () => {
      const { store, path, keys } = await damage();
      utimesSync(path, 1, 1);
      expect(await store.sweep()).to.equal(0);
      const { message } = await errorOf(keys());
      expect(message)
        .to.contain(path)
        .and.to.match(/damaged.*revokeAll\(\), then delete the file$/);
      rmSync(path);
      expect(await keys()).to.deep.equal([]);
    });

    it('are still an error after the next login and logout, which work', async () => {
      const { store, ada, keys } = await damage();
      const next = newAddress();
      expect(await store.index.add(ada, next, inAnHour(), { ...call(), limit: 1 })).to.equal(true);
      expect(await store.index.add(ada, newAddress(), inAnHour(), { ...call(), limit: 1 })).to.equal(false);
      expect((await errorOf(keys())).message).to.match(/damaged/);
      await store.index.remove(ada, next, call());
      expect((await errorOf(keys())).message).to.match(/damaged/);
    });

    it('are known again once every lost session has expired', async () => {
      const { store, ada, keys } = await damage();
      await store.index.add(ada, newAddress(), inAnHour(), call());
      const clock = sinon.useFakeTimers({ toFake: ['Date'], now: Date.now() + 400 * 24 * HOUR - 1000 });
      try {
        expect((await errorOf(keys())).message).to.match(/damaged/);
        clock.tick(1000);
        expect(await keys()).to.deep.equal([]);
        expect(await store.sweep()).to.equal(1);
      } finally {
        clock.restore();
      }
    });

    it('that holds a mark are an error, too', async () => {
      const { store, ada, path, keys } = await damage();
      const address = newAddress();
      await store.create(address, recordOf(), call());
      const replaced = { by: '', until: inAnHour() };
      await store.destroy(address, { ...call(), replaced });
      writeFileSync(path, readFileSync(folder.current.file(address), 'utf8').replace(address, ada));
      expect((await errorOf(keys())).message).to.match(/damaged/);
    });
  });

  it('may be 130,000', async function () {
    this.timeout(60_000);
    const patient = { ...call(), deadline: performance.now() + 60_000 };
    const { index } = folder.current.store({ fsync: false });
    const [ada, until] = [newAddress(), inAnHour()];
    const entries = new Map(Array.from({ length: 130_000 }, () => [newAddress(), String(until)]));
    mkdirSync(folder.current.path);
    writeFileSync(folder.current.file(ada, '.index'), packRecord(ada, { ...recordOf(), entries }));
    const key = newAddress();
    expect(await index.add(ada, key, until, patient)).to.equal(true);
    expect(await index.keys(ada, patient))
      .to.have.lengthOf(130_001)
      .and.to.include(key);
    await index.remove(ada, key, patient);
    expect(await index.keys(ada, patient)).to.have.lengthOf(130_000);
  });

  it('are no more than the limit, when two processes add to them at once', async () => {
    const others = await Promise.all([1, 2].map(() => folder.current.other({ fsync: false })));
    const ada = newAddress();
    const added = await Promise.all(
      Array.from({ length: 20 }, (_, i) => others[i % 2]!.ask('addToIndex', ada, newAddress(), inAnHour(), 5)),
    );
    expect(added.filter((is) => is)).to.have.lengthOf(5);
    expect(await folder.current.store().index.keys(ada, call())).to.have.lengthOf(5);
  });

  for (const group of ['../x', 'a\0b', '', 'x'.repeat(44)]) {
    it(`under a key that is no address there are none: ${JSON.stringify(group)}`, async () => {
      const { index } = folder.current.store();
      expect(await index.keys(group, call())).to.deep.equal([]);
      await index.remove(group, newAddress(), call());
      const added = index.add(group, newAddress(), inAnHour(), call()) as Promise<unknown>;
      expect(await errorOf(added)).to.be.an.instanceOf(TypeError);
      expect(folder.current.names).to.deep.equal([]);
    });
  }
});
