import { writeFileSync } from 'node:fs';
import { FsStore } from '@koa-wsession/store-fs';
import { expect } from 'chai';
import { call, contentOf, errorOf, newAddress, recordOf, useFolder } from './helpers.js';

describe('new FsStore()', () => {
  const folder = useFolder();

  it('has its defaults', async () => {
    const store = new FsStore({ sweepInterval: false });
    expect(store).to.include({ expire: 3600, secure: false, domain: undefined });
    expect(store.capabilities).to.deep.equal({ seals: false, merges: true, revokes: true });
  });

  it('takes the options that all stores take', () => {
    const store = folder.current.store({ expire: 60, secure: true, domain: 'example.com' });
    expect(store).to.include({ expire: 60, secure: true, domain: 'example.com' });
  });

  it('keeps the folder that ./sessions was at construction', async () => {
    const { path } = folder.current;
    const before = process.cwd();
    process.chdir(path.slice(0, path.lastIndexOf('/')));
    const store = new FsStore({ sweepInterval: false });
    process.chdir(before);
    const address = newAddress();
    await store.create(address, recordOf(), call());
    expect(folder.current.names).to.deep.equal([`weppy_${address}.sess`]);
  });

  it('touches no file, so that a process starts while the disk is out of order', async () => {
    folder.current.store();
    expect(folder.current.names).to.deep.equal([]);
    writeFileSync(folder.current.path, 'not a folder');
    const store = folder.current.store();
    expect((await errorOf(store.create(newAddress(), recordOf(), call()))).code).to.equal('ENOTDIR');
    expect((await errorOf(store.load(newAddress(), call()))).code).to.equal('ENOTDIR');
  });

  const unusable: Array<Record<string, unknown>> = [
    { directory: '' },
    { directory: 'a\0b' },
    { directory: null },
    { directory: new URL('file:///tmp') },
    { filenameTemplate: '' },
    { filenameTemplate: 'weppy.sess' },
    { filenameTemplate: '%s-%s' },
    { filenameTemplate: 'a/%s' },
    { filenameTemplate: '../%s' },
    { filenameTemplate: 'a\\%s' },
    { filenameTemplate: 'a\0%s' },
    { filenameTemplate: '.%s' },
    { filenameTemplate: '%s.' },
    { filenameTemplate: '%s.lock' },
    { filenameTemplate: '%s.TMP' },
    { filenameTemplate: '%s.index' },
    { filenameTemplate: '%s:sess' },
    { filenameTemplate: '%s\n' },
    { filenameTemplate: `${'a'.repeat(99)}%s` },
    { filenameTemplate: 7 },
    { fsync: 'yes' },
    { fsync: 0 },
    { sweepInterval: 0 },
    { sweepInterval: -1 },
    { sweepInterval: true },
    { sweepInterval: '300' },
    { sweepInterval: Number.NaN },
    { sweepInterval: 1_000_001 },
    { expire: 0 },
    { filename_template: 'weppy_%s.sess' },
    { path: './sessions' },
  ];
  for (const options of unusable) {
    it(`refuses ${JSON.stringify(options).slice(0, 60)}`, () => {
      expect(() => new FsStore(options as object))
        .to.throw(TypeError, /^(Invalid|Unknown) option/)
        .with.property('code', 'WSESSION_OPTION');
    });
  }

  for (const filenameTemplate of ['%s', 'sess_%s', 'my.shop-%s_v2.session', `${'a'.repeat(49)}%s${'b'.repeat(49)}`]) {
    it(`names files by the template ${filenameTemplate.slice(0, 30)}`, async () => {
      const store = folder.current.store({ filenameTemplate });
      const address = newAddress();
      await store.create(address, recordOf({}, -1), call());
      expect(folder.current.names).to.deep.equal([filenameTemplate.replace('%s', address)]);
      await store.create(address, recordOf({ a: '1' }), call());
      expect(contentOf(await store.load(address, call()))).to.deep.equal({ a: '1' });
    });
  }
});
