import { lutimesSync, mkdirSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import { FsStore } from '@koa-wsession/store-fs';
import { expect } from 'chai';
import { packRecord } from 'koa-wsession/store';
import sinon from 'sinon';
import {
  call,
  changesOf,
  contentOf,
  errorOf,
  type Folder,
  HOUR,
  newAddress,
  real,
  realSync,
  recordOf,
  replaceCall,
  replaceSyncCall,
  restoreCalls,
  systemError,
  useFolder,
} from './helpers.js';

/** More of them: `SOAK=1`. */
const abandoned = process.env.SOAK === '1' ? 10_000 : 500;

const TWO_HOURS_AGO = () => Date.now() / 1000 - 7200;

/** Puts a file there that was written two hours ago. */
function put(folder: Folder, address: string, text: string): void {
  writeFileSync(folder.file(address), text);
  utimesSync(folder.file(address), TWO_HOURS_AGO(), TWO_HOURS_AGO());
}

function putExpired(folder: Folder, count: number): string[] {
  mkdirSync(folder.path, { recursive: true });
  const addresses = Array.from({ length: count }, newAddress);
  for (const address of addresses) put(folder, address, packRecord(address, recordOf({ a: '1' }, -HOUR)));
  return addresses;
}

describe('sweep()', () => {
  const folder = useFolder();
  afterEach(restoreCalls);

  it('removes what expired, what is damaged and what was left behind, and nothing else', async () => {
    const store = folder.current.store();
    const [live, remembered, locked] = [newAddress(), newAddress(), newAddress()];
    await store.create(live, recordOf({ a: '1' }), call());
    const dead = `elsewhere.1.1.x.0`;
    const foreign = [
      'README',
      `weppy_${newAddress().slice(1)}.sess`,
      `weppy_${newAddress()}x.sess`,
      `weppy_${newAddress()}_sess`,
      `weppy_${newAddress()}.sess~`,
      `weppy_${newAddress()}.sess.bak`,
      `weppy_${newAddress()}.sess.tmp`,
      `weppy_${newAddress()}.sess.1.tmp`,
      `weppy_${newAddress()}.sess.lock.old`,
      `weppy_${newAddress()}.sess.${dead}.tmp.gz`,
      `Weppy_${newAddress()}.sess`,
      `xweppy_${newAddress()}.sess`,
      `other_${newAddress()}.sess`,
    ];
    for (const name of foreign) {
      writeFileSync(`${folder.current.path}/${name}`, 'mine');
      utimesSync(`${folder.current.path}/${name}`, 1, 1);
    }
    const [directory, link] = [folder.current.file(newAddress()), folder.current.file(newAddress())];
    mkdirSync(directory);
    symlinkSync('README', link);
    for (const path of [directory, link]) lutimesSync(path, 1, 1);
    put(folder.current, remembered, packRecord(remembered, recordOf({ b: '1' })));
    symlinkSync(`elsewhere.1.1.x.1`, folder.current.file(locked, '.lock'));
    const before = folder.current.names;

    putExpired(folder.current, abandoned);
    for (const text of ['', 'garbage', packRecord(newAddress(), recordOf())]) put(folder.current, newAddress(), text);
    const lock = folder.current.file(newAddress(), '.lock');
    const links = [lock, `${lock}.${dead}`, folder.current.file(newAddress(), `.lock.${dead}`)];
    for (const [i, path] of links.entries()) {
      symlinkSync(`elsewhere.1.1.x.${2 + i}`, path);
      lutimesSync(path, TWO_HOURS_AGO(), TWO_HOURS_AGO());
    }
    const temporary = folder.current.file(live, `.${dead}.tmp`);
    writeFileSync(temporary, 'half of');
    utimesSync(temporary, TWO_HOURS_AGO(), TWO_HOURS_AGO());

    expect(await store.sweep()).to.equal(abandoned + 7);
    expect(folder.current.names).to.deep.equal(before);
    expect(contentOf(await store.load(remembered, call()))).to.deep.equal({ b: '1' });
    expect(await store.sweep()).to.equal(0);
  });

  it('leaves what is new: it may not be complete yet', async () => {
    const store = folder.current.store({ expire: 1 });
    const [address, another] = putExpired(folder.current, 2) as [string, string];
    const minutesAgo = (minutes: number) => Date.now() / 1000 - minutes * 60;
    writeFileSync(folder.current.file(address), 'half of');
    utimesSync(folder.current.file(address), minutesAgo(4.9), minutesAgo(4.9));
    utimesSync(folder.current.file(another), minutesAgo(4.9), minutesAgo(4.9));
    expect(await store.sweep()).to.equal(0);
    utimesSync(folder.current.file(address), minutesAgo(5.1), minutesAgo(5.1));
    expect(await store.sweep()).to.equal(1);
    expect(folder.current.endings(another)).to.deep.equal(['']);
  });

  it('removes the mark of a replaced session five minutes later, however long sessions live', async () => {
    const store = folder.current.store({ expire: 30 * 86_400 });
    const [replaced, remembered] = [newAddress(), newAddress()];
    await store.create(replaced, recordOf(), call());
    const mark = { by: newAddress(), until: Date.now() + 60_000 };
    await store.destroy(replaced, { ...call(), replaced: mark });
    await store.create(remembered, recordOf({ a: '1' }, 1000), call());
    const clock = sinon.useFakeTimers({ toFake: ['Date'], now: Date.now() + 4.9 * 60_000 });
    try {
      expect(await store.sweep()).to.equal(0);
      clock.tick(0.2 * 60_000);
      expect(await store.sweep()).to.equal(1);
      expect(folder.current.endings(remembered)).to.deep.equal(['']);
    } finally {
      clock.restore();
    }
  });

  it('leaves a mark until its instant', async () => {
    const store = folder.current.store();
    const address = newAddress();
    await store.create(address, recordOf(), call());
    const replaced = { by: '', until: Date.now() + 2 * HOUR };
    await store.destroy(address, { ...call(), replaced });
    const clock = sinon.useFakeTimers({ toFake: ['Date'], now: replaced.until - 1 });
    try {
      expect(await store.sweep()).to.equal(0);
      expect(await store.load(address, call())).to.deep.equal(replaced);
      clock.tick(1);
      expect(await store.sweep()).to.equal(1);
    } finally {
      clock.restore();
    }
  });

  it('removes expired sessions whose time is in the future', async () => {
    const store = folder.current.store();
    const [address] = putExpired(folder.current, 1) as [string];
    const tomorrow = Date.now() / 1000 + 86_400;
    utimesSync(folder.current.file(address), tomorrow, tomorrow);
    expect(await store.sweep()).to.equal(1);
  });

  it('reads no file that was written within the time that sessions usually live', async () => {
    const other = await folder.current.other({ expire: 10_000 });
    putExpired(folder.current, 20);
    await other.ask('calls');
    expect(await other.ask('sweep')).to.equal(0);
    expect(await other.ask('calls')).to.deep.equal({ lstat: 20 });
  });

  it('locks no session that is still live', async () => {
    const other = await folder.current.other();
    const [address] = putExpired(folder.current, 1) as [string];
    put(folder.current, address, packRecord(address, recordOf({ remember: '1' })));
    await other.ask('calls');
    expect(await other.ask('sweep')).to.equal(0);
    expect(await other.ask('calls')).to.deep.equal({ lstat: 1, open: 1, read: 1, closeSync: 1 });
  });

  it('leaves a session that is being written, and its unfinished file', async () => {
    const store = folder.current.store();
    const other = await folder.current.other();
    const address = newAddress();
    await store.create(address, recordOf({ a: '1' }), call());
    await other.break({ write: { code: 'hang' } });
    const hanging = other.next('hanging');
    other.ask('update', address, changesOf({ a: '2' })).catch(() => {});
    await hanging;
    put(folder.current, address, packRecord(address, recordOf({}, -1)));
    expect(await store.sweep()).to.equal(0);
    expect(folder.current.endings(address)).to.have.lengthOf(3);
    await other.kill();
    expect(await store.sweep()).to.be.within(2, 3);
    await store.sweep();
    expect(folder.current.endings(address)).to.deep.equal([]);
  });

  it('looks again under the lock: what was replaced meanwhile stays', async () => {
    const store = folder.current.store();
    const [address] = putExpired(folder.current, 1) as [string];
    replaceCall('symlink', async (...args) => {
      restoreCalls();
      writeFileSync(folder.current.file(address), packRecord(address, recordOf({ new: '1' })));
      await real.symlink(...args);
    });
    expect(await store.sweep()).to.equal(0);
    expect(contentOf(await store.load(address, call()))).to.deep.equal({ new: '1' });
  });

  it('may run in several processes at once', async () => {
    const others = await Promise.all([1, 2, 3].map(() => folder.current.other()));
    const store = folder.current.store();
    const live = newAddress();
    await store.create(live, recordOf(), call());
    putExpired(folder.current, 300);
    const counts = await Promise.all([...others.map((other) => other.ask('sweep')), store.sweep()]);
    expect(counts.reduce((sum, count) => sum + count, 0)).to.equal(300);
    expect(folder.current.names).to.deep.equal([`weppy_${live}.sess`]);
  });

  it('is one at a time within a store', async () => {
    const store = folder.current.store();
    putExpired(folder.current, 50);
    const [one, two] = [store.sweep(), store.sweep()];
    expect(one).to.equal(two);
    expect(await one).to.equal(50);
    expect(await store.sweep()).to.equal(0);
  });

  it('removes what it can, and then throws what kept it from the rest', async () => {
    const store = folder.current.store();
    const [unlucky] = putExpired(folder.current, 50) as [string];
    replaceSyncCall('unlinkSync', (path) => {
      if (path === folder.current.file(unlucky)) throw systemError('EPERM');
      realSync.unlinkSync(path);
    });
    expect((await errorOf(store.sweep())).code).to.equal('EPERM');
    expect(folder.current.names).to.deep.equal([`weppy_${unlucky}.sess`]);
  });

  it('of 1,000 live sessions leaves the process to others', async () => {
    const store = folder.current.store({ fsync: false });
    mkdirSync(folder.current.path);
    for (let i = 0; i < 1000; i++) {
      const address = newAddress();
      writeFileSync(folder.current.file(address), packRecord(address, recordOf()));
    }
    let turns = 0;
    let sweeping = true;
    const swept = store.sweep().finally(() => {
      sweeping = false;
    });
    while (sweeping) {
      await setImmediate();
      turns++;
    }
    expect(await swept).to.equal(0);
    expect(turns).to.be.greaterThan(1000 / 16);
  });

  it('goes by the clock of the moment, also where that was set', async () => {
    const store = folder.current.store();
    const address = newAddress();
    await store.create(address, recordOf({ a: '1' }), call());
    const clock = sinon.useFakeTimers({ toFake: ['Date'], now: Date.now() - 10 * HOUR });
    try {
      expect(contentOf(await store.load(address, call())), 'set back').to.deep.equal({ a: '1' });
      expect(await store.sweep()).to.equal(0);
      expect(await store.update(address, changesOf({ b: '1' }), call())).to.include({ outcome: 'updated' });
      clock.tick(10 * HOUR);
      expect(await store.load(address, call()), 'set forward').to.equal('expired');
      clock.tick(2 * HOUR);
      expect(await store.sweep()).to.equal(1);
    } finally {
      clock.restore();
    }
  });
});

describe('sweeping', () => {
  const folder = useFolder();
  let clock: sinon.SinonFakeTimers;
  let store: FsStore;
  beforeEach(() => {
    clock = sinon.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  });
  afterEach(async () => {
    clock.restore();
    sinon.restore();
    restoreCalls();
    await store.close();
  });

  /** Sweeps that began within so many seconds. */
  const countWithin = async (seconds: number): Promise<number> => {
    let count = 0;
    replaceCall('opendir', async () => {
      count++;
      throw systemError('ENOENT');
    });
    await clock.tickAsync(seconds * 1000);
    return count;
  };

  for (const [random, seconds] of [
    [0, 48],
    [0.5, 60],
    [0.999999, 72],
  ] as const) {
    it(`comes by itself, every 60 seconds or a fifth more or less, such as ${seconds}`, async () => {
      sinon.stub(Math, 'random').returns(random);
      store = new FsStore({ directory: folder.current.path, sweepInterval: 60 });
      expect(await countWithin(seconds - 1)).to.equal(0);
      expect(await countWithin(1)).to.equal(1);
      expect(await countWithin(seconds - 1)).to.equal(0);
      expect(await countWithin(1)).to.equal(1);
    });
  }

  it('comes every 300 seconds unless it is told otherwise, and never with false', async () => {
    sinon.stub(Math, 'random').returns(0.5);
    store = new FsStore({ directory: folder.current.path });
    expect(await countWithin(299)).to.equal(0);
    expect(await countWithin(1)).to.equal(1);
    await store.close();
    store = new FsStore({ directory: folder.current.path, sweepInterval: false });
    expect(await countWithin(10_000)).to.equal(0);
  });

  it('really removes', async () => {
    store = new FsStore({ directory: folder.current.path, sweepInterval: 60 });
    putExpired(folder.current, 20);
    await clock.tickAsync(72_000);
    expect(await store.sweep(), 'returns the one in progress').to.equal(20);
    expect(folder.current.names).to.deep.equal([]);
  });

  it('that fails goes on the next time, and warns once', async () => {
    const warn = sinon.stub(process, 'emitWarning');
    writeFileSync(folder.current.path, 'no folder');
    store = new FsStore({ directory: folder.current.path, sweepInterval: 60 });
    for (let i = 0; i < 3; i++) {
      await clock.tickAsync(72_000);
      await store.sweep().catch(() => {});
    }
    expect(warn.callCount).to.equal(1);
    expect(warn.firstCall.args[0]).to.match(/^Can't remove abandoned session files: ENOTDIR/);
    expect(warn.firstCall.args[1]).to.deep.equal({ code: 'WSESSION_SWEEP' });
  });

  it('ends with close(), which may be called twice, and the rest still works', async () => {
    store = new FsStore({ directory: folder.current.path, sweepInterval: 60 });
    putExpired(folder.current, 500);
    const swept = store.sweep();
    await store.close();
    const count = await swept;
    expect(count).to.be.lessThan(100);
    await store.close();
    expect(clock.countTimers()).to.equal(0);
    expect(await countWithin(1000)).to.equal(0);
    restoreCalls();
    expect(await store.sweep()).to.equal(0);
    expect(folder.current.names).to.have.lengthOf(500 - count);
    const address = newAddress();
    await store.create(address, recordOf({ a: '1' }), call());
    await store.update(address, changesOf({ b: '2' }), call());
    expect(contentOf(await store.load(address, call()))).to.deep.equal({ a: '1', b: '2' });
    expect(contentOf(await store.destroy(address, call()))).to.deep.equal({ a: '1', b: '2' });
  });

  it('does not keep a process alive', async () => {
    store = new FsStore({ directory: folder.current.path, sweepInterval: false });
    const other = await folder.current.other({ sweepInterval: 300 });
    await other.ask('create', newAddress(), recordOf());
    const exited = new Promise((resolve) => other.process.once('exit', resolve));
    await other.ask('letGo');
    expect(await exited).to.equal(0);
  });
});
