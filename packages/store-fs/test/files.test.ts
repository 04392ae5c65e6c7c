import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect } from 'chai';
import { packRecord } from 'koa-wsession/store';
import { call, changesOf, contentOf, errorOf, newAddress, recordOf, useFolder } from './helpers.js';

describe('a session', () => {
  const folder = useFolder();

  it('is one file, named by its address, that holds the packed record and nothing else', async () => {
    const store = folder.current.store();
    const address = newAddress();
    const record = recordOf({ name: '"Ada"', größe: '1.73' });
    await store.create(address, record, call());
    for (let i = 0; i < 5; i++) await store.update(address, changesOf({ i: String(i) }), call());
    expect(folder.current.names).to.deep.equal([`weppy_${address}.sess`]);
    const text = readFileSync(folder.current.file(address), 'utf8');
    const entries = new Map([...record.entries, ['i', '4']]);
    const { updatedAt, expiresAt } = (await store.load(address, call())) as typeof record;
    expect(text).to.equal(packRecord(address, { ...record, entries, updatedAt, expiresAt, revision: 6 }));
  });

  it('can be read by its user only, whatever the umask', async () => {
    const before = process.umask(0);
    try {
      const store = folder.current.store();
      const address = newAddress();
      const modeOf = (path: string) => statSync(path).mode & 0o777;
      await store.create(address, recordOf(), call());
      expect(modeOf(folder.current.path)).to.equal(0o700);
      expect(modeOf(folder.current.file(address))).to.equal(0o600);
      await store.update(address, changesOf({ a: '1' }), call());
      expect(modeOf(folder.current.file(address))).to.equal(0o600);
    } finally {
      process.umask(before);
    }
  });

  for (const bytes of [8192, 131_071, 131_072, 131_073, 262_144, 3_000_000]) {
    it(`may take ${bytes} bytes`, async () => {
      const store = folder.current.store();
      const address = newAddress();
      const empty = packRecord(address, recordOf({ a: 'x'.repeat(bytes) })).length - bytes;
      const record = recordOf({ a: 'x'.repeat(bytes - empty) });
      await store.create(address, record, call());
      expect(statSync(folder.current.file(address)).size).to.be.closeTo(bytes, 1);
      expect(await store.load(address, call())).to.deep.equal(record);
    });
  }

  it('keeps its own content, however many are read and written at the same time', async () => {
    const store = folder.current.store({ fsync: false });
    const sizes = [10, 3000, 50_000, 100_000, 131_072, 200_000];
    const contents = Array.from({ length: 90 }, (_, i) => ({
      own: String(i),
      filling: String.fromCharCode(i % 2 ? 97 + (i % 26) : 0x400 + i).repeat(sizes[i % sizes.length] as number),
    }));
    const addresses = contents.map(newAddress);
    await Promise.all(contents.map((content, i) => store.create(addresses[i] as string, recordOf(content), call())));
    for (let round = 0; round < 3; round++) {
      const updates = addresses.map((address) => store.update(address, changesOf({ round: String(round) }), call()));
      const loaded = await Promise.all(addresses.map((address) => store.load(address, call())));
      for (const [i, record] of loaded.entries()) expect(contentOf(record)).to.include(contents[i] as object);
      await Promise.all(updates);
    }
    for (const [i, address] of addresses.entries())
      expect(contentOf(await store.load(address, call()))).to.deep.equal({ ...contents[i], round: '2' });
  });

  it('over 64 MiB is refused, and what was there stays', async () => {
    const store = folder.current.store({ fsync: false });
    const address = newAddress();
    await store.create(address, recordOf({ a: '1' }), call());
    const tooLarge = changesOf({ b: 'x'.repeat(64 * 1024 * 1024) });
    expect(await errorOf(store.update(address, tooLarge, call()))).to.be.an.instanceOf(RangeError);
    expect(contentOf(await store.load(address, call()))).to.deep.equal({ a: '1' });
    expect(folder.current.names).to.have.lengthOf(1);
  });

  it('is stored as it was when create was called', async () => {
    const store = folder.current.store();
    const address = newAddress();
    const entries = new Map([['a', '1']]);
    const created = store.create(address, { ...recordOf(), entries }, call());
    entries.set('a', '2');
    await created;
    expect(contentOf(await store.load(address, call()))).to.deep.equal({ a: '1' });
  });

  it('is over when it expires, and can then be neither changed nor ended', async () => {
    const store = folder.current.store();
    const address = newAddress();
    await store.create(address, recordOf({ a: '1' }, -1), call());
    expect(await store.load(address, call())).to.equal('expired');
    expect(await store.update(address, changesOf({ b: '2' }), call())).to.deep.equal({ outcome: 'gone' });
    expect(await store.destroy(address, call())).to.deep.equal({ outcome: 'none' });
  });

  it('leaves no file when it is destroyed', async () => {
    const store = folder.current.store();
    const address = newAddress();
    await store.create(address, recordOf({ a: '1' }), call());
    expect(contentOf(await store.destroy(address, call()))).to.deep.equal({ a: '1' });
    expect(folder.current.names).to.deep.equal([]);
  });

  it('that was replaced leaves a mark in its file, and no data', async () => {
    const store = folder.current.store();
    const [address, by] = [newAddress(), newAddress()];
    await store.create(address, recordOf({ a: '1' }), call());
    const replaced = { by, until: Date.now() + 60_000.5 };
    expect(contentOf(await store.destroy(address, { ...call(), replaced }))).to.deep.equal({ a: '1' });
    expect(folder.current.names).to.deep.equal([`weppy_${address}.sess`]);
    expect(statSync(folder.current.file(address)).mode & 0o777).to.equal(0o400);
    const text = readFileSync(folder.current.file(address), 'utf8');
    expect(text).to.equal(`replaced,${replaced.until},43\n${address}${by}`);
    expect(await store.load(address, call())).to.deep.equal(replaced);
  });

  it('is never seen half written', async () => {
    const writer = await folder.current.other({ fsync: false });
    const store = folder.current.store();
    const address = newAddress();
    await store.create(address, recordOf({ a: '', b: '' }), call());
    let writing = true;
    const written = writer.ask('writeTwins', address, 500).finally(() => {
      writing = false;
    });
    const seen = new Set<string>();
    while (writing) {
      const { a, b } = contentOf(await store.load(address, call())) as { a: string; b: string };
      expect(a === b, 'both keys from the same write').to.equal(true);
      seen.add(a);
    }
    await written;
    expect(seen.size).to.be.greaterThan(10);
  });
});

describe('a key that is no address', () => {
  const folder = useFolder();
  const tail = 'x'.repeat(40);
  const hostile = ['../x', `../${tail}`, `a/${tail}x`, 'a\0b', `${tail}\0x.`, '', '.', `${tail}xx\n`, `${tail}xxxx`];

  for (const key of hostile) {
    it(`leads nowhere: ${JSON.stringify(key)}`, async () => {
      const store = folder.current.store({ filenameTemplate: '%s' });
      const address = newAddress();
      await store.create(address, recordOf(), call());
      const outside = join(folder.current.path, key.replaceAll('\0', ''));
      if (!existsSync(outside)) {
        mkdirSync(dirname(outside), { recursive: true });
        writeFileSync(outside, packRecord(key, recordOf({ secret: '1' })));
      }
      const before = readdirSync(join(folder.current.path, '..'), { recursive: true });
      expect(await store.load(key, call())).to.equal(undefined);
      expect(await store.update(key, changesOf({ a: '1' }), call())).to.deep.equal({ outcome: 'gone' });
      expect(await store.destroy(key, call())).to.deep.equal({ outcome: 'none' });
      expect(await errorOf(store.create(key, recordOf(), call()))).to.be.an.instanceOf(TypeError);
      expect(readdirSync(join(folder.current.path, '..'), { recursive: true })).to.deep.equal(before);
    });
  }
});

describe('the folder', () => {
  const folder = useFolder();

  it('may be deleted while the process runs: then there are no sessions, and the next one makes it again', async () => {
    const store = folder.current.store();
    const [gone, next] = [newAddress(), newAddress()];
    await store.create(gone, recordOf({ a: '1' }), call());
    rmSync(folder.current.path, { recursive: true });
    expect(await store.load(gone, call())).to.equal(undefined);
    expect(await store.sweep()).to.equal(0);
    expect(await store.update(gone, changesOf({ a: '2' }), call())).to.deep.equal({ outcome: 'gone' });
    rmSync(folder.current.path, { recursive: true });
    expect(await store.create(next, recordOf({ b: '1' }), call())).to.deep.equal({ outcome: 'created' });
    expect(contentOf(await store.load(next, call()))).to.deep.equal({ b: '1' });
    expect(statSync(folder.current.path).mode & 0o777).to.equal(0o700);
  });

  it('may be shared with others, by the name of their files', async () => {
    const [one, other] = [folder.current.store(), folder.current.store({ filenameTemplate: 'other_%s.sess' })];
    const address = newAddress();
    await one.create(address, recordOf({ a: '1' }), call());
    expect(await other.load(address, call())).to.equal(undefined);
  });
});
