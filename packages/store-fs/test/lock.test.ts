import { spawn, spawnSync } from 'node:child_process';
import { pbkdf2 } from 'node:crypto';
import { once } from 'node:events';
import fs, { lutimesSync, readFileSync, readlinkSync, rmSync, symlinkSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { setTimeout } from 'node:timers/promises';
import { promisify } from 'node:util';
import { expect } from 'chai';
import sinon from 'sinon';
import {
  call,
  changesOf,
  contentOf,
  errorOf,
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

const SECOND = 1000;

describe('parallel processes', () => {
  const folder = useFolder();

  it('lose none of 2 x 50 changes of different keys', async () => {
    const others = [await folder.current.other(), await folder.current.other()];
    const address = newAddress();
    const keys = Array.from({ length: 100 }, (_, i) => `k${i}`);
    const store = folder.current.store();
    await store.create(address, recordOf(), call());
    await Promise.all(others.map((other, i) => other.ask('setKeys', address, keys.slice(50 * i, 50 * i + 50))));
    expect(contentOf(await store.load(address, call()))).to.have.all.keys(keys);
    expect(folder.current.names).to.have.lengthOf(1);
  });

  it('lose none of 2 x 50 increments of one key', async () => {
    const others = [await folder.current.other(), await folder.current.other()];
    const address = newAddress();
    const store = folder.current.store();
    await store.create(address, recordOf({ n: '0' }), call());
    await Promise.all(others.map((other) => other.ask('increment', address, 'n', 50)));
    expect(contentOf(await store.load(address, call()))).to.deep.equal({ n: '100' });
  });

  it('do not bring back what one of them destroyed', async () => {
    const other = await folder.current.other({ fsync: false });
    const store = folder.current.store({ fsync: false });
    for (let round = 0; round < 10; round++) {
      const address = newAddress();
      await store.create(address, recordOf(), call());
      const running = other.next('running');
      const updates = other.ask('updateUntilGone', address);
      await running;
      const ended = await store.destroy(address, call());
      const stored = await updates;
      expect(contentOf(ended)?.a, 'the last that was acknowledged').to.equal(String(stored - 1));
      expect(await store.load(address, call())).to.equal(undefined);
      expect(folder.current.names).to.deep.equal([]);
    }
  });

  it('create one session between them', async () => {
    const others = await Promise.all([1, 2, 3].map(() => folder.current.other()));
    for (let round = 0; round < 10; round++) {
      const address = newAddress();
      const results = await Promise.all(
        others.map((other, i) => other.ask('create', address, recordOf({ by: String(i) }))),
      );
      const winners = results.flatMap(({ outcome }, i) => (outcome === 'created' ? [String(i)] : []));
      expect(winners).to.have.lengthOf(1);
      expect(contentOf(await folder.current.store().load(address, call()))).to.deep.equal({ by: winners[0] });
    }
  });
});

describe('within a process', () => {
  const folder = useFolder();

  it('changes come in the order in which they were asked for', async () => {
    const store = folder.current.store();
    const address = newAddress();
    await store.create(address, recordOf(), call());
    const updates = Array.from({ length: 20 }, (_, i) => store.update(address, changesOf({ last: String(i) }), call()));
    const end = store.destroy(address, call());
    expect((await Promise.all(updates)).map(({ outcome }) => outcome)).to.deep.equal(Array(20).fill('updated'));
    expect(contentOf(await end)).to.deep.equal({ last: '19' });
  });

  it('a change whose time is over before its turn comes is not begun', async () => {
    const store = folder.current.store();
    const address = newAddress();
    await store.create(address, recordOf(), call());
    const first = store.update(address, changesOf({ first: '1' }), call());
    const late = errorOf(store.update(address, changesOf({ late: '1' }), call(0)));
    expect((await late).code).to.equal('ETIMEDOUT');
    await first;
    expect(contentOf(await store.load(address, call()))).to.deep.equal({ first: '1' });
  });

  it('a change that failed does not keep the next', async () => {
    const store = folder.current.store();
    const address = newAddress();
    await store.create(address, recordOf(), call());
    const impossible = { ...changesOf({}), set: undefined as never };
    const failed = errorOf(store.update(address, impossible, call()));
    const next = store.update(address, changesOf({ a: '1' }), call());
    expect(await failed).to.be.an.instanceOf(TypeError);
    expect(await next).to.include({ outcome: 'updated' });
  });
});

describe('the lock', () => {
  const folder = useFolder();
  const sandbox = sinon.createSandbox();
  afterEach(() => {
    sandbox.restore();
    restoreCalls();
  });

  /** An existing session, the path of its lock, and a way to update it. */
  const prepare = async () => {
    const store = folder.current.store();
    const address = newAddress();
    await store.create(address, recordOf({ a: '1' }), call());
    const lock = folder.current.file(address, '.lock');
    return {
      store,
      address,
      lock,
      /** Waits for less than a lock's lease, unless told otherwise. */
      update: (key: string, wait = 5 * SECOND) => store.update(address, changesOf({ [key]: '1' }), call(wait)),
    };
  };
  /** The parts of an identity of this process. */
  const identify = async (): Promise<string[]> => {
    const { store, address, lock } = await prepare();
    let identity = '';
    replaceSyncCall('renameSync', (from, to) => {
      identity = readlinkSync(lock);
      return realSync.renameSync(from, to);
    });
    await store.update(address, changesOf({ b: '1' }), call());
    restoreCalls();
    return identity.split('.');
  };
  /** Another process, whose update hangs in this call. */
  const hangIn = async (step: 'write' | 'fsync', address: string) => {
    const other = await folder.current.other();
    await other.break({ [step]: { code: 'hang' } });
    const hanging = other.next('hanging');
    other.ask('update', address, changesOf({ b: '1' })).catch(() => {});
    await hanging;
    return other;
  };
  const deadPid = () => String(spawnSync('true').pid);
  const age = (link: string, seconds: number) =>
    lutimesSync(link, Date.now() / 1000 - seconds, Date.now() / 1000 - seconds);

  it('of a living process is waited for, and then it is an error that says so', async () => {
    const { store, address, update } = await prepare();
    await hangIn('write', address);
    const error = await errorOf(update('c', 30));
    expect(error.code).to.equal('ELOCKED');
    expect(error.message).to.match(/^weppy_[\w-]{43}\.sess is locked by another process/);
    expect(contentOf(await store.load(address, call())), 'reading takes no lock').to.deep.equal({ a: '1' });
  });

  it('is free while the folder is flushed', async function () {
    if (process.platform !== 'linux') this.skip(); // flushes the file by the same call
    const { store, address, update } = await prepare();
    await hangIn('fsync', address);
    expect(await update('c')).to.include({ outcome: 'updated' });
    expect(contentOf(await store.load(address, call()))).to.deep.equal({ a: '1', b: '1', c: '1' });
  });

  it('of a killed process is broken by the next writer, at once', async () => {
    const { store, address, update } = await prepare();
    const other = await hangIn('write', address);
    await other.kill();
    expect(folder.current.endings(address)).to.include('.lock').with.lengthOf(3);
    const start = performance.now();
    expect(await update('c')).to.include({ outcome: 'updated' });
    expect(performance.now() - start).to.be.lessThan(2 * SECOND);
    expect(contentOf(await store.load(address, call()))).to.deep.equal({ a: '1', c: '1' });
    expect(folder.current.endings(address)).to.have.lengthOf(2, 'what it was writing stays until the sweep');
    expect(await store.sweep()).to.equal(1);
    expect(folder.current.endings(address)).to.deep.equal(['']);
  });

  it('of a killed process is broken although its process id was given again', async function () {
    if (process.platform !== 'linux') this.skip(); // has no /proc to tell when a process started
    const { lock, update } = await prepare();
    const [host, , start, ...rest] = await identify();
    symlinkSync([host, process.pid, Number(start) - 1, ...rest].join('.'), lock);
    expect(await update('b')).to.include({ outcome: 'updated' });
  });

  it('of this very process is not broken, nor that of a process that this one may not signal', async () => {
    const { lock, update } = await prepare();
    const [host, ...rest] = await identify();
    symlinkSync([host, ...rest].join('.'), lock);
    expect((await errorOf(update('b', 30))).code).to.equal('ELOCKED');
    sandbox.stub(process, 'kill').throws(systemError('EPERM'));
    expect((await errorOf(update('b', 30))).code).to.equal('ELOCKED');
  });

  it('of another host is broken when it is older than ten seconds, whatever runs here under its process id', async () => {
    const { address, lock, update } = await prepare();
    for (const identity of [`elsewhere.${deadPid()}.1.x.0`, `elsewhere.${process.pid}.1.x.1`]) {
      symlinkSync(identity, lock);
      expect((await errorOf(update('b', 30))).code).to.equal('ELOCKED');
      age(lock, 9);
      expect((await errorOf(update('b', 30))).code).to.equal('ELOCKED');
      age(lock, 11);
      expect(await update('b')).to.include({ outcome: 'updated' });
      expect(folder.current.endings(address)).to.deep.equal(['']);
    }
  });

  it('with a time in the future is broken too: the clock was set back, or it is of another boot', async () => {
    const { address, lock, update } = await prepare();
    symlinkSync(`elsewhere.${process.pid}.1.x.0`, lock);
    age(lock, -9);
    expect((await errorOf(update('b', 30))).code).to.equal('ELOCKED');
    age(lock, -3600);
    expect(await update('b')).to.include({ outcome: 'updated' });
    expect(folder.current.endings(address)).to.deep.equal(['']);
  });

  it('of a killed process that its parent has not reaped is broken, at once', async function () {
    if (process.platform !== 'linux') this.skip();
    const { lock, update } = await prepare();
    const [host] = await identify();
    // The shell's child ends; what the shell turns into never asks for its exit code.
    const parent = spawn('sh', ['-c', 'sleep 0.05 & echo $!; exec sleep 60'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    try {
      const [output] = await once(parent.stdout, 'data');
      const zombie = String(output).trim();
      let stat: string[];
      do {
        await setTimeout(5);
        stat = readFileSync(`/proc/${zombie}/stat`, 'utf8').split(') ')[1]?.split(' ') as string[];
      } while (stat[0] !== 'Z');
      symlinkSync(`${host}.${zombie}.${stat[19]}.x.0`, lock);
      expect(await update('b')).to.include({ outcome: 'updated' });
    } finally {
      parent.kill('SIGKILL');
    }
  });

  it('of a living process is broken too, when it is older than that', async () => {
    const { lock, update } = await prepare();
    symlinkSync((await identify()).join('.'), lock);
    age(lock, 11);
    expect(await update('b')).to.include({ outcome: 'updated' });
  });

  it('is broken by one of many, and none of them breaks the next', async () => {
    const { store, address, lock } = await prepare();
    const [host] = await identify();
    const stores = [store, ...Array.from({ length: 7 }, () => folder.current.store({ fsync: false }))];
    const others = [await folder.current.other({ fsync: false }), await folder.current.other({ fsync: false })];
    const expected = ['a'];
    for (let round = 0; round < 25; round++) {
      symlinkSync(`${host}.${deadPid()}.1.x.${round}`, lock);
      const keys = Array.from({ length: 10 }, (_, i) => `${round}-${i}`);
      await Promise.all([
        ...stores.map((it, i) => it.update(address, changesOf({ [keys[i] as string]: '1' }), call())),
        ...others.map((other, i) => other.ask('setKeys', address, [keys[8 + i] as string])),
      ]);
      expected.push(...keys);
      expect(contentOf(await store.load(address, call()))).to.have.all.keys(expected);
    }
    expect(folder.current.endings(address)).to.deep.equal(['']);
  });

  it('with a claim of another process is left to that process, unless it was killed too', async () => {
    const { address, lock, update } = await prepare();
    const [host] = await identify();
    const [stale, breaker, second] = [`${host}.${deadPid()}.1.x.0`, `elsewhere.1.1.x.1`, `${host}.${deadPid()}.1.x.2`];
    symlinkSync(stale, lock);
    symlinkSync(breaker, `${lock}.${stale}`);
    expect((await errorOf(update('b', 30))).code).to.equal('ELOCKED');
    expect(readlinkSync(lock)).to.equal(stale);

    age(`${lock}.${stale}`, 11);
    symlinkSync(second, `${lock}.${breaker}`);
    expect(await update('b')).to.include({ outcome: 'updated' });
    expect(folder.current.endings(address)).to.deep.equal(['']);
  });

  it('that is replaced while one is about to break it is not broken', async () => {
    const { address, lock, update } = await prepare();
    const [host] = await identify();
    symlinkSync(`${host}.${deadPid()}.1.x.0`, lock);
    // Between the claim and the check whether it is still the same lock.
    replaceCall('symlink', async (...args) => {
      await real.symlink(...args);
      await real.unlink(lock);
      await real.symlink('elsewhere.1.1.x.9', lock);
      restoreCalls();
    });
    expect((await errorOf(update('b', 30))).code).to.equal('ELOCKED');
    expect(readlinkSync(lock)).to.equal('elsewhere.1.1.x.9');
    expect(folder.current.endings(address)).to.deep.equal(['', '.lock']);
  });

  describe('of a process that stood still', () => {
    for (const step of ['update', 'destroy'] as const) {
      it(`and lost it meanwhile: the ${step} fails and changes nothing`, async () => {
        const { address, lock, update } = await prepare();
        const slow = folder.current.store();
        const clock = sandbox.useFakeTimers({ toFake: ['Date'], now: Date.now() });
        let lost = false;
        replaceCall('symlink', async (target, path, type) => {
          await real.symlink(target, path, type);
          if (lost || path !== lock) return;
          // It has the lock, and stands still; another takes it away, and is done before it goes on.
          lost = true;
          age(lock, 11);
          await update('b');
          clock.tick(11 * SECOND);
        });
        const done =
          step === 'update' ? slow.update(address, changesOf({ c: '1' }), call()) : slow.destroy(address, call());
        const error = await errorOf(done);
        expect(error.code).to.equal('ELOCKED');
        expect(error.message).to.match(/^Lock weppy_[\w-]{43}\.sess\.lock expired while held/);
        expect(contentOf(await slow.load(address, call()))).to.deep.equal({ a: '1', b: '1' });
        expect(folder.current.endings(address)).to.deep.equal(['']);
      });
    }

    it('and lost it to a process that still has it: that lock stays', async () => {
      const { address, lock } = await prepare();
      const slow = folder.current.store();
      const clock = sandbox.useFakeTimers({ toFake: ['Date'], now: Date.now() });
      replaceCall('symlink', async (target, path, type) => {
        await real.symlink(target, path, type);
        if (path !== lock) return;
        await real.unlink(lock);
        await real.symlink('elsewhere.1.1.x.9', lock);
        clock.tick(11 * SECOND);
      });
      // Nothing to change, so that only the release is left to notice.
      expect(await slow.destroy(newAddress(), call())).to.deep.equal({ outcome: 'none' });
      expect((await errorOf(slow.update(address, changesOf({ c: '1' }), call()))).code).to.equal('ELOCKED');
      expect(readlinkSync(lock)).to.equal('elsewhere.1.1.x.9');
      expect(folder.current.endings(address)).to.deep.equal(['', '.lock']);
    });

    it('and still has it: claims it, and goes on', async () => {
      const { address, lock, update } = await prepare();
      const slow = folder.current.store();
      const clock = sandbox.useFakeTimers({ toFake: ['Date'], now: Date.now() });
      let broken: Promise<NodeJS.ErrnoException> | undefined;
      replaceCall('symlink', async (target, path, type) => {
        await real.symlink(target, path, type);
        if (path === lock && !broken) clock.tick(6 * SECOND);
        if (path === lock || broken) return;
        // The claim is there: a process that finds the lock too old can't break it any more.
        age(lock, 11);
        broken = errorOf(update('b', 30));
        expect((await broken).code).to.equal('ELOCKED');
      });
      expect(await slow.update(address, changesOf({ c: '1' }), call())).to.include({ outcome: 'updated' });
      expect(broken).not.to.equal(undefined);
      expect(contentOf(await slow.load(address, call()))).to.deep.equal({ a: '1', c: '1' });
      expect(folder.current.endings(address)).to.deep.equal(['']);
    });

    it('again, with the claim: the change fails, and what others may have made of it stays', async () => {
      const { address, update } = await prepare();
      const slow = folder.current.store();
      const clock = sandbox.useFakeTimers({ toFake: ['Date'], now: Date.now() });
      replaceCall('symlink', async (target, path, type) => {
        await real.symlink(target, path, type);
        clock.tick(6 * SECOND);
      });
      expect((await errorOf(slow.update(address, changesOf({ c: '1' }), call()))).code).to.equal('ELOCKED');
      restoreCalls();
      expect(folder.current.endings(address)).to.have.lengthOf(3, 'the lock and the claim');
      clock.tick(11 * SECOND);
      expect(await update('b')).to.include({ outcome: 'updated' });
      expect(contentOf(await slow.load(address, call()))).to.deep.equal({ a: '1', b: '1' });
      expect(folder.current.endings(address)).to.deep.equal(['']);
    });

    for (const claimed of [false, true]) {
      it(`after its change${claimed ? ' with a claim' : ''}, and lost it: the lock of another process stays`, async () => {
        const { address, lock } = await prepare();
        const slow = folder.current.store();
        const clock = sandbox.useFakeTimers({ toFake: ['Date'], now: Date.now() });
        replaceCall('symlink', async (target, path, type) => {
          await real.symlink(target, path, type);
          if (claimed && path === lock) clock.tick(6 * SECOND);
        });
        replaceSyncCall('renameSync', (from, to) => {
          realSync.renameSync(from, to);
          realSync.unlinkSync(lock);
          symlinkSync('elsewhere.1.1.x.9', lock);
          clock.tick(11 * SECOND);
        });
        expect(await slow.update(address, changesOf({ c: '1' }), call())).to.include({ outcome: 'updated' });
        expect(readlinkSync(lock)).to.equal('elsewhere.1.1.x.9');
      });
    }

    it('about to break it: leaves it', async () => {
      const { address, lock, update } = await prepare();
      const [host] = await identify();
      const stale = `${host}.${deadPid()}.1.x.0`;
      symlinkSync(stale, lock);
      const clock = sandbox.useFakeTimers({ toFake: ['Date'], now: Date.now() });
      replaceCall('symlink', async (target, path, type) => {
        await real.symlink(target, path, type);
        clock.tick(6 * SECOND); // with the claim, before the look at the lock
        restoreCalls();
      });
      expect((await errorOf(update('b', 30))).code).to.equal('ELOCKED');
      expect(readlinkSync(lock)).to.equal(stale);
      clock.tick(5 * SECOND); // by then, the claim is abandoned as well
      expect(await update('b')).to.include({ outcome: 'updated' });
      expect(folder.current.endings(address)).to.deep.equal(['']);
    });
  });

  it('that can not be removed does not undo what was done, and is broken in its time', async () => {
    const { store, address, lock, update } = await prepare();
    replaceSyncCall('unlinkSync', (path) => {
      if (path === lock) throw systemError('EIO');
      realSync.unlinkSync(path);
    });
    expect(await update('b')).to.include({ outcome: 'updated' });
    restoreCalls();
    expect((await errorOf(update('c', 30))).code).to.equal('ELOCKED');
    age(lock, 11);
    expect(await update('c')).to.include({ outcome: 'updated' });
    expect(contentOf(await store.load(address, call()))).to.deep.equal({ a: '1', b: '1', c: '1' });
  });

  for (const name of ['symlink', 'readlink', 'lstat'] as const) {
    it(`is an error where ${name} fails, and not taken`, async () => {
      const { store, address, lock, update } = await prepare();
      if (name !== 'symlink') symlinkSync('elsewhere.1.1.x.9', lock);
      replaceCall(name, async () => {
        throw systemError('EIO');
      });
      expect((await errorOf(update('b'))).code).to.equal('EIO');
      expect(contentOf(await store.load(address, call()))).to.deep.equal({ a: '1' });
    });
  }
});

describe('while all threads of the pool are busy', () => {
  const folder = useFolder();
  const sandbox = sinon.createSandbox();
  const realClose = fs.closeSync;
  afterEach(() => {
    sandbox.restore();
    Object.assign(fs, { closeSync: realClose });
    syncBuiltinESMExports();
  });

  /** Calls back once, when a finished file of a session is closed and is about to be renamed. */
  const beforeRename = (address: string, work: () => void) => {
    let isDone = false;
    const closeSync = (file: number) => {
      realClose(file);
      if (isDone || !folder.current.endings(address).some((ending) => ending.endsWith('.tmp'))) return;
      isDone = true;
      work();
    };
    Object.assign(fs, { closeSync });
    syncBuiltinESMExports();
  };

  it('no session comes back that another process ended meanwhile', async () => {
    const store = folder.current.store({ fsync: false });
    const address = newAddress();
    await store.create(address, recordOf({ a: '1' }), call());
    const others: Array<Promise<unknown>> = [];
    beforeRename(address, () => {
      const derive = promisify(pbkdf2);
      others.push(...Array.from({ length: 8 }, () => derive('a', 'b', 100_000, 32, 'sha512')));
      // The lock's lease runs out in the queue. Another process takes the lock, ends the session and releases it.
      const end = setTimeout(20).then(() => {
        for (const ending of ['.lock', '']) rmSync(folder.current.file(address, ending), { force: true });
      });
      others.push(end);
    });
    await store.update(address, changesOf({ a: '2' }), call());
    expect(others).to.have.lengthOf(9);
    await Promise.all(others);
    expect(await store.load(address, call())).to.equal(undefined);
  });

  it('a change whose deadline passes before its last step is not made, and leaves nothing behind', async () => {
    const store = folder.current.store({ fsync: false });
    const address = newAddress();
    await store.create(address, recordOf({ a: '1' }), call());
    const clock = sandbox.useFakeTimers({ toFake: ['performance'], now: performance.now() });
    beforeRename(address, () => clock.tick(2000));
    const late = await errorOf(store.update(address, changesOf({ a: '2' }), call(1000)));
    expect(late).to.include({ code: 'ETIMEDOUT', message: 'File access abandoned: the request timed out' });
    expect(contentOf(await store.load(address, call()))).to.deep.equal({ a: '1' });
    expect(folder.current.endings(address)).to.deep.equal(['']);
  });
});

describe('a call whose deadline has passed', () => {
  const folder = useFolder();

  it('reads nothing and writes nothing', async () => {
    const other = await folder.current.other();
    const address = newAddress();
    await other.ask('create', address, recordOf({ a: '1' }));
    await other.ask('calls');
    expect((await errorOf(other.ask('update', address, changesOf({ a: '2' }), 0))).code).to.equal('ETIMEDOUT');
    expect((await errorOf(other.ask('load', address, 0))).code).to.equal('ETIMEDOUT');
    expect(await other.ask('calls')).to.deep.equal({});
  });
});
