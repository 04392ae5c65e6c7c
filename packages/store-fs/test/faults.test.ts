import { spawnSync } from 'node:child_process';
import { chmodSync, closeSync, mkdirSync, openSync, rmSync, statSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import {
  call,
  changesOf,
  contentOf,
  errorOf,
  newAddress,
  recordOf,
  replaceCall,
  restoreCalls,
  systemError,
  useFolder,
} from './helpers.js';

/** How often a change calls `fsync` for the new file. On Linux, its write waits for the disk. */
const flushesOfFile = process.platform === 'linux' ? 0 : 1;

describe('a disk', () => {
  const folder = useFolder();
  afterEach(restoreCalls);

  it('that is full: changes fail, the session stays as it was, no file is left behind; changes work once there is room', async function () {
    if (!folder.current.mount('256k')) this.skip(); // a file system of one's own takes root
    const store = folder.current.store();
    const address = newAddress();
    await store.create(address, recordOf({ a: '1' }), call());
    const filler = join(folder.current.path, 'filler');
    const file = openSync(filler, 'w');
    try {
      for (;;) writeSync(file, Buffer.alloc(4096));
    } catch (error) {
      expect(error).to.have.property('code', 'ENOSPC');
    } finally {
      closeSync(file);
    }
    const names = folder.current.names;
    expect((await errorOf(store.update(address, changesOf({ a: '2' }), call()))).code).to.equal('ENOSPC');
    expect((await errorOf(store.create(newAddress(), recordOf(), call()))).code).to.equal('ENOSPC');
    expect(contentOf(await store.load(address, call()))).to.deep.equal({ a: '1' });
    expect(folder.current.names).to.deep.equal(names);
    rmSync(filler);
    expect(await store.update(address, changesOf({ a: '2' }), call())).to.include({ outcome: 'updated' });
  });

  it('that becomes full half-way through a change: the same', async function () {
    if (!folder.current.mount('256k')) this.skip();
    const store = folder.current.store();
    const address = newAddress();
    await store.create(address, recordOf({ a: '1' }), call());
    const large = changesOf({ b: 'x'.repeat(300_000) });
    expect((await errorOf(store.update(address, large, call()))).code).to.equal('ENOSPC');
    expect(contentOf(await store.load(address, call()))).to.deep.equal({ a: '1' });
    expect(folder.current.endings(address)).to.deep.equal(['']);
  });

  it('that is read-only: changes fail, sessions are still read; changes work once it is writable', async function () {
    if (process.getuid?.() !== 0) mkdirSync(folder.current.path);
    else if (!folder.current.mount('1m')) this.skip(); // root may write whatever the permissions say
    const readOnly = (is: boolean) => {
      if (process.getuid?.() === 0) folder.current.remount(is ? 'ro' : 'rw');
      else chmodSync(folder.current.path, is ? 0o500 : 0o700);
    };
    const store = folder.current.store();
    const address = newAddress();
    await store.create(address, recordOf({ a: '1' }), call());
    readOnly(true);
    expect((await errorOf(store.update(address, changesOf({ a: '2' }), call()))).code).to.match(/EROFS|EACCES/);
    expect((await errorOf(store.destroy(address, call()))).code).to.match(/EROFS|EACCES/);
    expect((await errorOf(store.create(newAddress(), recordOf(), call()))).code).to.match(/EROFS|EACCES/);
    expect(contentOf(await store.load(address, call()))).to.deep.equal({ a: '1' });
    readOnly(false);
    expect(await store.update(address, changesOf({ a: '2' }), call())).to.include({ outcome: 'updated' });
  });

  it('of which the folder can not be made: creating fails, and there is no session', async () => {
    const store = folder.current.store();
    replaceCall('mkdir', async () => {
      throw systemError('EROFS');
    });
    expect((await errorOf(store.create(newAddress(), recordOf(), call()))).code).to.equal('EROFS');
    expect(await store.load(newAddress(), call())).to.equal(undefined);
    restoreCalls();
    expect(await store.create(newAddress(), recordOf(), call())).to.deep.equal({ outcome: 'created' });
  });

  /** One by one, everything that a change takes. */
  const writing: Record<string, object> = {
    'can not take a lock': { symlink: { code: 'EIO' } },
    'can not read what is there': { read: { code: 'EIO' } },
    'can not open the new file': { open: { code: 'EIO', after: 1 } },
    'can not write it': { write: { code: 'EIO' } },
    'can not close it': { closeSync: { code: 'EIO', after: 1 } },
    'can not rename it': { renameSync: { code: 'EIO' } },
  };
  for (const [fault, faults] of Object.entries(writing)) {
    it(`that ${fault}: the change fails, the session stays as it was, and no other file is left`, async () => {
      const other = await folder.current.other();
      const address = newAddress();
      await other.ask('create', address, recordOf({ a: '1' }));
      await other.break(faults as never);
      expect((await errorOf(other.ask('update', address, changesOf({ a: '2' })))).code).to.equal('EIO');
      await other.break({});
      expect(folder.current.endings(address)).to.deep.equal(['']);
      expect(contentOf(await other.ask('load', address))).to.deep.equal({ a: '1' });
      expect(await other.ask('update', address, changesOf({ a: '3' }))).to.include({ outcome: 'updated' });
      expect(contentOf(await other.ask('load', address))).to.deep.equal({ a: '3' });
    });
  }

  it('that can not flush the folder: a change, or an end, is not acknowledged', async () => {
    const other = await folder.current.other();
    const address = newAddress();
    await other.ask('create', address, recordOf({ a: '1' }));
    await other.break({ fsync: { code: 'EIO', after: flushesOfFile } });
    expect((await errorOf(other.ask('update', address, changesOf({ a: '2' })))).code).to.equal('EIO');
    await other.break({ fsync: { code: 'EIO' } });
    expect((await errorOf(other.ask('destroy', address))).code).to.equal('EIO');
    expect(folder.current.endings(address).filter((ending) => ending !== '')).to.deep.equal([]);
  });

  it('that does not know how to flush a folder: is not asked for more than it can', async () => {
    const other = await folder.current.other();
    const address = newAddress();
    await other.ask('create', address, recordOf({ a: '1' }));
    await other.break({ fsync: { code: 'EINVAL', after: flushesOfFile } });
    expect(await other.ask('update', address, changesOf({ a: '2' }))).to.include({ outcome: 'updated' });
  });

  it('that can not remove a session: its end fails, and it is still there', async () => {
    const other = await folder.current.other();
    const address = newAddress();
    await other.ask('create', address, recordOf({ a: '1' }));
    await other.break({ unlinkSync: { code: 'EIO' } });
    expect((await errorOf(other.ask('destroy', address))).code).to.equal('EIO');
    expect(contentOf(await other.ask('load', address))).to.deep.equal({ a: '1' });
  });

  it('that can not be read: an error, never "not there"', async () => {
    const other = await folder.current.other();
    const address = newAddress();
    await other.ask('create', address, recordOf({ a: '1' }));
    for (const code of ['EIO', 'EACCES', 'EMFILE', 'ENFILE', 'ESTALE', 'ENOMEM']) {
      for (const name of ['open', 'read']) {
        await other.break({ [name]: { code } });
        expect((await errorOf(other.ask('load', address))).code).to.equal(code);
      }
    }
    await other.break({});
    expect(contentOf(await other.ask('load', address))).to.deep.equal({ a: '1' });
  });
});

describe('the system calls', () => {
  const folder = useFolder();

  /** Those that end in `Sync` run at once, all others in the thread pool. */
  const expected: Record<string, Record<string, number>> = {
    load: { open: 1, read: 1, closeSync: 1 },
    'update, flushed': {
      ...{ symlink: 1, open: 2, flushing: 1, read: 1, closeSync: 3, write: 1, fsync: 1 },
      ...{ openSync: 1, renameSync: 1, unlinkSync: 1 },
    },
    'update, not flushed': { symlink: 1, open: 2, read: 1, closeSync: 2, write: 1, renameSync: 1, unlinkSync: 1 },
    // What another call ended a moment ago is on the disk before this one says that it has ended.
    'destroy of none, flushed': { symlink: 1, open: 1, openSync: 1, fsync: 1, closeSync: 1, unlinkSync: 1 },
    'destroy, flushed': { symlink: 1, open: 1, read: 1, closeSync: 2, openSync: 1, fsync: 1, unlinkSync: 2 },
  };
  for (const [what, calls] of Object.entries(expected)) {
    it(`of ${what} are no more than it takes`, async function () {
      if (process.platform !== 'linux') this.skip(); // flushes a file by a call of its own
      const other = await folder.current.other({ fsync: !what.includes('not') });
      const address = newAddress();
      await other.ask('create', address, recordOf({ a: '1' }));
      await other.ask('calls');
      if (what === 'load') await other.ask('load', address);
      else if (what.startsWith('update')) await other.ask('update', address, changesOf({ a: '2' }));
      else await other.ask('destroy', what.includes('none') ? newAddress() : address);
      expect(await other.ask('calls')).to.deep.equal(calls);
    });
  }
});

describe('a folder that is made', () => {
  const folder = useFolder();

  for (const fsync of [true, false]) {
    it(`is ${fsync ? '' : 'not '}flushed, and so are those above it that are made`, async () => {
      const directory = join(folder.current.path, 'a', 'b');
      const other = await folder.current.other({ directory, fsync });
      await other.ask('calls');
      await other.ask('create', newAddress(), recordOf());
      const calls = await other.ask('calls');
      // Three names of folders, and the file's; and the file.
      expect(calls.fsync).to.equal(fsync ? 4 + flushesOfFile : undefined);
      if (process.platform === 'linux') expect(calls.flushing).to.equal(fsync ? 1 : undefined);
      expect(calls.mkdir).to.equal(1);
    });
  }
});

describe('a folder that takes no symbolic links', () => {
  const folder = useFolder();
  afterEach(restoreCalls);

  for (const code of ['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS']) {
    it(`is an error that says so, at the first write: ${code}`, async () => {
      const store = folder.current.store();
      replaceCall('symlink', async () => {
        throw systemError(code);
      });
      const error = await errorOf(store.create(newAddress(), recordOf(), call()));
      expect(error.code).to.equal(code);
      expect(error.message).to.contain(folder.current.path).and.to.contain('locks are symbolic links');
      expect(error.cause).to.have.property('code', code);
      expect(await store.load(newAddress(), call()), 'reading takes no lock').to.equal(undefined);
    });
  }

  it("is an error that names the flags, under Node's permission model", () => {
    const flag = ['--permission', '--experimental-permission'].find((name) =>
      process.allowedNodeEnvironmentFlags.has(name),
    ) as string;
    mkdirSync(folder.current.path);
    const program = `
      import { FsStore } from '@koa-wsession/store-fs';
      const store = new FsStore({ directory: ${JSON.stringify(folder.current.path)}, fsync: false, sweepInterval: false });
      const record = { entries: new Map(), createdAt: 1, updatedAt: 1, expiresAt: Date.now() + 1000, revision: 1 };
      const call = { name: 'test', deadline: performance.now() + 5000 };
      await store.create('x'.repeat(43), record, call).then(({ outcome }) => console.log(outcome), ({ message }) => console.log(message));
    `;
    const run = (writable: string) =>
      spawnSync(
        process.execPath,
        [flag, '--allow-fs-read=*', `--allow-fs-write=${writable}`, '--input-type=module', '-e', program],
        { cwd: fileURLToPath(new URL('..', import.meta.url)), encoding: 'utf8' },
      ).stdout.trim();
    expect(run(`${folder.current.path}/*`)).to.match(
      /locks are symbolic links.*--allow-fs-read=\* and --allow-fs-write=\* and set fsync: false$/,
    );
    expect(run('*')).to.equal('created');
  });
});

describe('a process without file descriptors', () => {
  const folder = useFolder();

  it('can not tell whether there is a session: an error; and it recovers by itself', async function () {
    if (process.platform === 'win32') this.skip(); // has no ulimit
    const other = await folder.current.other({}, 'ulimit -n 60');
    const address = newAddress();
    await other.ask('create', address, recordOf({ a: '1' }));
    await other.ask('exhaust');
    expect((await errorOf(other.ask('load', address))).code).to.equal('EMFILE');
    expect((await errorOf(other.ask('update', address, changesOf({ a: '2' })))).code).to.equal('EMFILE');
    expect((await errorOf(other.ask('destroy', address))).code).to.equal('EMFILE');
    expect((await errorOf(other.ask('create', newAddress(), recordOf()))).code).to.equal('EMFILE');
    await other.ask('relax');
    expect(contentOf(await other.ask('load', address))).to.deep.equal({ a: '1' });
    expect(await other.ask('update', address, changesOf({ a: '2' }))).to.include({ outcome: 'updated' });
    expect(folder.current.endings(address)).to.deep.equal(['']);
  });
});

describe('a file that takes the place of the folder', () => {
  const folder = useFolder();

  it('is an error, and nothing becomes of it', async () => {
    writeFileSync(folder.current.path, 'mine');
    const store = folder.current.store();
    for (const attempt of [
      () => store.load(newAddress(), call()),
      () => store.update(newAddress(), changesOf({}), call()),
      () => store.destroy(newAddress(), call()),
      () => store.sweep(),
    ])
      expect((await errorOf(attempt())).code).to.equal('ENOTDIR');
    expect(statSync(folder.current.path).size).to.equal(4);
  });
});
