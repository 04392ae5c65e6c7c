import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect } from 'chai';
import { OptionError } from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import { type NearCacheOptions, nearCache } from 'koa-wsession/near-cache';
import type { Call, ChangeListener, Changes, DestroyCall, SessionRecord, Store } from 'koa-wsession/store';
import { type SinonFakeTimers, useFakeTimers } from 'sinon';
import { createSite, Gate, type Handler, tidy, twinOf } from './helpers.js';

/** Announces what the test says, when it says so. */
class FakeFeed {
  readonly listeners = new Set<ChangeListener>();
  /** `undefined`: there is no connection. */
  answer: (() => Promise<void>) | undefined = async () => undefined;
  syncs = 0;

  subscribe(listener: ChangeListener): () => void {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  }

  async sync(): Promise<void> {
    this.syncs++;
    if (!this.answer) throw new Error('no connection');
    await this.answer();
  }

  changed(key: string): void {
    for (const listener of this.listeners) listener.changed(key);
  }

  gap(): void {
    for (const listener of this.listeners) listener.gap();
  }
}

/** A store of another process, too, whose calls are counted, and which announces what the test says. */
class CountingStore extends MemoryStore {
  readonly changes: FakeFeed = new FakeFeed();
  readonly calls: string[] = [];
  /** Waited for before a load answers, or a write is answered. */
  loading: Promise<unknown> | undefined;
  writing: Promise<unknown> | undefined;

  /** Forgets the calls so far, and returns them. */
  take(): string[] {
    return this.calls.splice(0);
  }
}

for (const method of ['load', 'create', 'update', 'destroy'] as const) {
  const own = MemoryStore.prototype[method] as (...args: unknown[]) => unknown;
  Object.defineProperty(CountingStore.prototype, method, {
    value(this: CountingStore, ...args: unknown[]) {
      if (args.length > 1) this.calls.push(method);
      const answer = own.apply(this, args);
      const wait = method === 'load' ? this.loading : this.writing;
      return wait && args.length > 1 ? wait.then(() => answer) : answer;
    },
  });
}

const HOUR = 3_600_000;

function call(atLeast?: number): Call {
  return { name: 'n', deadline: performance.now() + 5000, atLeast };
}

function recordOf(n: string, revision = 1): SessionRecord {
  const now = Date.now();
  return { entries: new Map([['n', n]]), createdAt: now, updatedAt: now, expiresAt: now + HOUR, revision };
}

function changesOf(n: string): Changes {
  return { set: new Map([['n', n]]), delete: [], updatedAt: Date.now(), expiresAt: Date.now() + HOUR };
}

const FAR = 'k'.repeat(43);

describe('nearCache()', () => {
  let clock: SinonFakeTimers;
  let store: CountingStore;
  let near: Store;
  const open: Store[] = [];

  beforeEach(() => {
    clock = useFakeTimers({ toFake: ['Date', 'performance', 'setInterval', 'clearInterval'] });
  });
  afterEach(async () => {
    for (const one of open.splice(0)) await one.close?.();
    await tidy();
  });

  /** A cache with one record, which was loaded into it. */
  async function begin(options: NearCacheOptions = {}): Promise<void> {
    store = new CountingStore();
    near = nearCache(store, options);
    open.push(near);
    store.create(FAR, recordOf('1'));
    await near.load(FAR, call(1));
    store.take();
  }

  /** The record's content as the cache shows it, and whether the store was asked. */
  async function read(atLeast: number | 'unknown' = 1): Promise<[n: string | undefined, how: 'hit' | 'miss']> {
    store.take();
    const found = await near.load(FAR, call(atLeast === 'unknown' ? undefined : atLeast));
    const n = typeof found === 'object' && 'entries' in found ? found.entries.get('n') : undefined;
    return [n, store.take().includes('load') ? 'miss' : 'hit'];
  }

  /** What another process does. */
  const elsewhere = (n: string): unknown => store.update(FAR, changesOf(n));

  describe('options', () => {
    it('throws an OptionError for a store that announces nothing', () => {
      expect(() => nearCache(new MemoryStore())).to.throw(OptionError, 'a store that announces changes');
      expect(() => nearCache(undefined as never)).to.throw(OptionError);
    });

    for (const options of [
      { maxage: 1 },
      { maxAge: 0 },
      { maxAge: 60_001 },
      { maxAge: '1' },
      { maxEntries: 0 },
      { maxBytes: Number.NaN },
    ])
      it(`throws an OptionError for ${JSON.stringify(options)}`, () => {
        expect(() => nearCache(new CountingStore(), options as never)).to.throw(OptionError);
      });

    it('are the store’s own where they are the store’s', () => {
      const { expire, secure, domain, capabilities, index, scan, changes, wantsRevisions } = nearCache(
        new CountingStore({ expire: 5, secure: true, domain: 'example.com' }),
      );
      expect({ expire, secure, domain, capabilities, wantsRevisions }).to.deep.equal({
        expire: 5,
        secure: true,
        domain: 'example.com',
        capabilities: { seals: false, merges: true, revokes: true },
        wantsRevisions: true,
      });
      for (const part of [index, scan, changes]) expect(part).to.not.equal(undefined);
    });
  });

  describe('a hit', () => {
    it('is synchronous, and the record that was loaded', async () => {
      await begin();
      const found = near.load(FAR, call(1));
      expect(found).to.equal(near.load(FAR, call(1)));
      expect((found as SessionRecord).entries.get('n')).to.equal('1');
      expect(store.take()).to.deep.equal([]);
    });

    it('needs a revision that is known, and not newer than the record’s', async () => {
      await begin();
      expect(await read('unknown')).to.deep.equal(['1', 'miss']);
      expect(await read(2)).to.deep.equal(['1', 'miss']);
      expect(await read(1)).to.deep.equal(['1', 'hit']);
    });

    it('needs a record that has not expired', async () => {
      await begin();
      store.create('short', { ...recordOf('1'), expiresAt: Date.now() + 500 });
      await near.load('short', call(1));
      store.take();
      clock.tick(499);
      await near.load('short', call(1));
      expect(store.take()).to.deep.equal([]);
      clock.tick(1);
      expect(await near.load('short', call(1))).to.equal(undefined);
      expect(store.take()).to.deep.equal(['load']);
    });

    it('needs a load less than 60 s ago, whatever the feed says', async () => {
      await begin();
      await clock.tickAsync(59_999);
      expect(await read()).to.deep.equal(['1', 'hit']);
      await clock.tickAsync(1);
      expect(await read()).to.deep.equal(['1', 'miss']);
      expect(await read()).to.deep.equal(['1', 'hit']);
    });
  });

  describe('the promises', () => {
    it('a request with the newest token never reads below it, though the announcement is lost', async () => {
      await begin();
      elsewhere('2');
      expect(await read(2)).to.deep.equal(['2', 'miss']);
    });

    it('any other read is at most maxAge behind, though the announcement is late: the feed is synced before', async () => {
      await begin();
      const late = new Gate();
      clock.tick(100);
      elsewhere('2');
      store.changes.answer = () => late.passed; // on its way behind the announcement
      await clock.tickAsync(899);
      expect(await read()).to.deep.equal(['1', 'hit']);
      await clock.tickAsync(1); // 900 ms behind, but 1000 after the last sync began
      expect(await read()).to.deep.equal(['2', 'miss']);
      store.changes.changed(FAR);
      late.open();
      await nextTurn();
      expect(await read()).to.deep.equal(['2', 'miss']);
      await clock.tickAsync(334);
      await read();
      expect(await read()).to.deep.equal(['2', 'hit']);
    });

    it('a sync is valid from when it was sent, not from when it was answered', async () => {
      await begin();
      const late = new Gate();
      store.changes.answer = () => late.passed;
      await clock.tickAsync(334); // sent
      store.changes.answer = undefined;
      await clock.tickAsync(600);
      late.open(); // at 934
      await nextTurn();
      await clock.tickAsync(398); // 1332: 999 after 333
      expect((await read())[1]).to.equal('hit');
      await clock.tickAsync(1);
      expect((await read())[1]).to.equal('miss');
    });

    it('syncs that are answered in another order take nothing back', async () => {
      await begin();
      const first = new Gate();
      store.changes.answer = () => first.passed;
      await clock.tickAsync(334);
      store.changes.answer = async () => undefined;
      await clock.tickAsync(333); // at 666
      store.changes.answer = undefined;
      first.open();
      await nextTurn();
      await clock.tickAsync(998); // 1665
      expect((await read())[1]).to.equal('hit');
    });

    it('an announcement that arrives before the load it belongs to is not lost', async () => {
      await begin();
      store.changes.changed(FAR);
      const answered = new Gate();
      store.loading = answered.passed;
      const loading = near.load(FAR, call(1)); // reads 1
      elsewhere('2');
      store.changes.changed(FAR);
      answered.open();
      store.loading = undefined;
      await loading;
      expect(await read()).to.deep.equal(['2', 'miss']);
    });

    it('announcements of other keys, or of this one twice, cost nothing more', async () => {
      await begin();
      store.changes.changed('other');
      expect(await read()).to.deep.equal(['1', 'hit']);
      elsewhere('2');
      store.changes.changed(FAR);
      store.changes.changed(FAR);
      expect(await read()).to.deep.equal(['2', 'miss']);
      expect(await read()).to.deep.equal(['2', 'hit']);
    });

    it('a half-open connection, where a sync gets no answer, is used for maxAge at most', async () => {
      await begin();
      store.changes.answer = () => new Promise(() => {});
      elsewhere('2');
      await clock.tickAsync(999);
      expect(await read()).to.deep.equal(['1', 'hit']);
      await clock.tickAsync(1);
      expect(await read()).to.deep.equal(['2', 'miss']);
      expect(await read()).to.deep.equal(['2', 'miss']);
    });

    it('without a connection, it is a store without a cache, and a cache again once there is one', async () => {
      await begin();
      store.changes.answer = undefined;
      store.changes.gap();
      expect(await read()).to.deep.equal(['1', 'miss']);
      expect(await read()).to.deep.equal(['1', 'miss']);
      store.changes.answer = async () => undefined;
      store.changes.gap(); // synced at once
      await read();
      expect(await read()).to.deep.equal(['1', 'hit']);
    });

    it('a gap drops what is kept, what is being loaded, and the sync in progress', async () => {
      await begin();
      const answered = new Gate();
      const synced = new Gate();
      store.loading = answered.passed;
      store.changes.answer = () => synced.passed;
      await clock.tickAsync(334);
      const loading = near.load('other', call(1));
      store.changes.answer = undefined;
      store.changes.gap();
      synced.open();
      answered.open();
      await loading;
      store.loading = undefined;
      expect((await read())[1]).to.equal('miss');
      expect((await read())[1]).to.equal('miss'); // not synced since
      store.changes.answer = async () => undefined;
      await clock.tickAsync(334);
      expect((await read())[1]).to.equal('hit');
    });

    it('a load that was in progress at a gap is not kept', async () => {
      await begin();
      store.changes.changed(FAR);
      const answered = new Gate();
      store.loading = answered.passed;
      const loading = near.load(FAR, call(1)); // reads 1
      store.changes.gap();
      elsewhere('2'); // its announcement is lost
      answered.open();
      await loading;
      store.loading = undefined;
      await clock.tickAsync(334);
      expect(await read()).to.deep.equal(['2', 'miss']);
    });

    for (const [how, set] of [
      ['the wall clock is set forward', () => clock.setSystemTime(Date.now() + 10_000)],
      ['the wall clock is set back', () => clock.setSystemTime(Date.now() - 10_000)],
    ] as const)
      it(`where ${how}, it waits for the next sync`, async () => {
        await begin();
        set();
        expect((await read())[1]).to.equal('miss');
        await clock.tickAsync(334);
        expect((await read())[1]).to.equal('hit');
      });

    it('a wall clock that is set back does not prolong what the other clock ends', async () => {
      await begin();
      store.changes.answer = undefined;
      await clock.tickAsync(1200);
      clock.setSystemTime(Date.now() - 1000);
      expect((await read())[1]).to.equal('miss');
    });

    it('a process that was stopped, and goes on, waits for the next sync', async () => {
      await begin();
      elsewhere('2');
      clock.jump(10_000);
      expect(await read()).to.deep.equal(['2', 'miss']);
    });

    it('writes are decided in the store: a stale record updates nothing that has ended', async () => {
      await begin();
      store.destroy(FAR, call());
      expect(await read()).to.deep.equal(['1', 'hit']);
      expect(await near.update(FAR, changesOf('2'), call())).to.deep.equal({ outcome: 'gone' });
      expect(await read()).to.deep.equal([undefined, 'miss']);
    });
  });

  describe('a write', () => {
    const WRITES: ReadonlyArray<[string, () => unknown]> = [
      ['update', () => near.update(FAR, changesOf('2'), call())],
      ['destroy', () => near.destroy(FAR, call() as DestroyCall)],
    ];
    for (const [name, write] of WRITES) {
      it(`${name} drops the record before it is sent, and no load is kept before it is answered`, async () => {
        await begin();
        const answered = new Gate();
        store.writing = answered.passed;
        const writing = write() as Promise<unknown>;
        expect((await read())[1]).to.equal('miss');
        expect((await read())[1]).to.equal('miss');
        answered.open();
        await writing;
        await read();
        expect((await read())[1]).to.equal(name === 'update' ? 'hit' : 'miss');
      });

      it(`${name} drops the load that began before`, async () => {
        await begin();
        store.changes.changed(FAR);
        const answered = new Gate();
        store.loading = answered.passed;
        const loading = near.load(FAR, call(1));
        store.loading = undefined;
        await write();
        answered.open();
        await loading;
        expect((await read())[1]).to.equal('miss');
      });

      it(`${name} that fails drops the record, too: it may have been carried out`, async () => {
        await begin();
        const answered = new Gate();
        store.writing = answered.passed.then(() => Promise.reject(new Error('timed out')));
        const writing = (write() as Promise<unknown>).catch(() => undefined);
        await read();
        answered.open();
        await writing;
        expect((await read())[1]).to.equal('miss');
      });
    }
  });

  describe('an update keeps the record that it made', () => {
    const update = (n: string): Promise<unknown> => near.update(FAR, changesOf(n), call()) as Promise<unknown>;
    /** Updates to 2, and lets this happen while the update is in progress. */
    async function updateDuring(meanwhile: () => unknown): Promise<void> {
      const answered = new Gate();
      store.writing = answered.passed;
      const writing = update('2');
      store.writing = undefined;
      await meanwhile();
      answered.open();
      await writing;
    }

    it('as the store has it, for tokens up to its revision', async () => {
      await begin();
      clock.tick(5);
      const [set, expiresAt] = [new Map([['a', '1']]), undefined];
      await near.update(FAR, { set, delete: ['n'], updatedAt: Date.now(), expiresAt }, call());
      store.take();
      expect(near.load(FAR, call(2))).to.deep.equal(store.load(FAR));
      expect(store.take()).to.deep.equal([]);
      expect((await read(3))[1]).to.equal('miss');
    });

    it('for maxAge from when it was sent, whatever the feed says', async () => {
      await begin();
      await updateDuring(() => clock.tickAsync(400));
      await clock.tickAsync(599);
      expect(await read()).to.deep.equal(['2', 'hit']);
      await clock.tickAsync(1);
      expect(await read()).to.deep.equal(['2', 'miss']);
      await clock.tickAsync(30_000);
      expect(await read()).to.deep.equal(['2', 'hit']); // this one was loaded
    });

    it('after its own announcement, but no second one', async () => {
      for (const during of [0, 1]) {
        await begin();
        await updateDuring(() => during && store.changes.changed(FAR));
        if (!during) store.changes.changed(FAR);
        expect(await read()).to.deep.equal(['2', 'hit']);
        elsewhere('3');
        store.changes.changed(FAR);
        expect(await read()).to.deep.equal(['3', 'miss']);
      }
    });

    it('which a late announcement of it takes from no load that began before', async () => {
      await begin();
      await update('2');
      const answered = new Gate();
      store.loading = answered.passed;
      const loading = near.load(FAR, call(3)) as Promise<unknown>;
      store.changes.changed(FAR);
      answered.open();
      store.loading = undefined;
      await loading;
      expect(await read()).to.deep.equal(['2', 'hit']);
      await clock.tickAsync(1000);
      expect((await read())[1]).to.equal('miss'); // the load wasn't kept: the announcement may be that of a later write
    });

    const NOT: ReadonlyArray<[string, () => unknown]> = [
      ['another write came before', () => [elsewhere('x'), update('2')][1]],
      ['another of this process is in progress', () => updateDuring(() => update('x'))],
      ['its key was announced twice', () => updateDuring(() => [FAR, FAR].map((key) => store.changes.changed(key)))],
      ['there was a gap', () => updateDuring(() => store.changes.gap())],
      ['it was refused', () => near.update(FAR, { ...changesOf('2'), expect: new Map([['n', 'x']]) }, call())],
      ['the session was not cached', () => [store.changes.changed(FAR), update('2')][1]],
    ];
    for (const [reason, write] of NOT)
      it(`but not where ${reason}`, async () => {
        await begin();
        await write();
        await clock.tickAsync(334); // synced again
        expect((await read())[1]).to.equal('miss');
      });
  });

  describe('what is kept', () => {
    it('is records only: no absence, no mark', async () => {
      await begin();
      store.destroy(FAR, { ...call(), replaced: { by: 'x', until: Date.now() + 60_000 } });
      store.changes.changed(FAR);
      for (const key of [FAR, 'missing'])
        for (let i = 0; i < 2; i++) {
          await near.load(key, call(1));
          expect(store.take()).to.deep.equal(i || key !== FAR ? ['load'] : ['destroy', 'load']);
        }
    });

    it('is also that there is no record, for loads at revision 0, until one is created here or elsewhere', async () => {
      await begin();
      const isThere = async (atLeast?: number): Promise<[unknown, string]> => {
        store.take();
        const found = await near.load('none', call(atLeast));
        return [found !== undefined, store.take().includes('load') ? 'miss' : 'hit'];
      };
      await isThere(0);
      expect(await isThere(0)).to.deep.equal([false, 'hit']);
      expect(await isThere(1)).to.deep.equal([false, 'miss']);
      expect(await isThere()).to.deep.equal([false, 'miss']);
      await near.create('none', recordOf('1'), call());
      expect(await isThere(0)).to.deep.equal([true, 'miss']);
      await near.destroy('none', call());
      await isThere(0);
      store.create('none', recordOf('1'));
      store.changes.changed('none');
      expect(await isThere(0)).to.deep.equal([true, 'miss']);
    });

    it('is the first of several loads at once, so that there is one though they never pause', async () => {
      await begin();
      store.changes.changed(FAR);
      const first = near.load(FAR, call(1));
      const answered = new Gate();
      store.loading = answered.passed;
      const second = near.load(FAR, call(1));
      await first;
      expect((await read())[1]).to.equal('hit');
      answered.open();
      await second;
    });

    const fill = async (count: number, size = 1): Promise<void> => {
      for (let i = 0; i < count; i++) {
        store.create(`k${i}`, recordOf('x'.repeat(size)));
        await near.load(`k${i}`, call(1));
      }
      store.take();
    };
    const isKept = async (key: string): Promise<boolean> => {
      await near.load(key, call(1));
      return store.take().length === 0;
    };

    it('is at most maxEntries sessions, those that were used last', async () => {
      await begin({ maxEntries: 3 });
      await fill(2);
      expect(await isKept(FAR)).to.equal(true); // used
      store.create('k2', recordOf('1'));
      await near.load('k2', call(1));
      store.take();
      expect(await isKept(FAR)).to.equal(true);
      expect(await isKept('k1')).to.equal(true);
      expect(await isKept('k0')).to.equal(false);
    });

    it('is at most maxEntries sessions, also where all of them were used', async () => {
      await begin({ maxEntries: 3 });
      await fill(2);
      for (const key of [FAR, 'k0', 'k1']) expect(await isKept(key)).to.equal(true);
      store.create('k2', recordOf('1'));
      await near.load('k2', call(1));
      store.take();
      for (const key of ['k0', 'k1', 'k2']) expect(await isKept(key)).to.equal(true);
      expect(await isKept(FAR)).to.equal(false);
    });

    it('is at most maxBytes', async () => {
      await begin({ maxBytes: 10_000 });
      await fill(4, 1000);
      expect(await isKept('k3')).to.equal(true);
      expect(await isKept('k0')).to.equal(false);
      store.create('huge', recordOf('x'.repeat(10_000)));
      await near.load('huge', call(1));
      store.take();
      expect(await isKept('huge')).to.equal(false);
    });

    it('counts no session twice', async () => {
      await begin({ maxBytes: 10_000 });
      for (let i = 0; i < 100; i++) await near.load(FAR, call(2));
      await fill(2, 1000);
      expect(await isKept('k0')).to.equal(true);
    });
  });

  it('subscribes and syncs from the first load on, keeps no process alive, and stops with close()', async () => {
    clock.restore();
    clock = useFakeTimers();
    const store = new CountingStore();
    const near = nearCache(store);
    expect([store.changes.listeners.size, clock.countTimers()]).to.deep.equal([0, 0]);
    await near.load(FAR, call(1));
    expect([store.changes.listeners.size, clock.countTimers(), store.changes.syncs]).to.deep.equal([1, 1, 1]);
    await near.close?.();
    await near.load(FAR, call(1));
    expect([store.changes.listeners.size, clock.countTimers()]).to.deep.equal([0, 0]);
  });
});

describe('round trips of a request through the near cache', () => {
  afterEach(tidy);

  const handlers: Record<string, Handler> = {
    '/begin': (ctx) => void (ctx.session.counter = 0),
    '/untouched': () => 'ok',
    '/read': (ctx) => ({ counter: ctx.session.counter }),
    '/counter': (ctx) => ({ counter: (ctx.session.counter = ctx.session.counter + 1) }),
  };

  for (const keyring of [undefined, ['secret']])
    it(`are untouched 0, read 0, counter 1, ${keyring ? 'signed' : 'unsigned'}`, async () => {
      const store = new CountingStore();
      const near = nearCache(store);
      try {
        const site = await createSite(handlers, { store: near, ...(keyring && { keyring }) });
        const visitor = site.visitor();
        await visitor.get('/begin');
        await visitor.get('/read');
        store.take();
        for (const [path, calls] of [
          ['/untouched', []],
          ['/read', []],
          ['/counter', ['update']],
        ] as const) {
          await visitor.get(path);
          expect(store.take(), path).to.deep.equal(calls);
        }
        expect((await visitor.get('/counter')).json()).to.deep.equal({ counter: 2 });
        expect((await visitor.get('/read')).json()).to.deep.equal({ counter: 2 });
        expect(store.take()).to.deep.equal(['update']);
      } finally {
        await near.close?.();
      }
    });

  it('the token has the revision of the write that handed it out', async () => {
    const store = new CountingStore();
    const near = nearCache(store);
    try {
      const { visitor } = await createSite(handlers, { store: near });
      const ada = visitor();
      const revisions: string[] = [];
      for (const path of ['/begin', '/counter', '/read', '/counter']) {
        await ada.get(path);
        revisions.push(String(ada.cookie?.split('.')[1]));
      }
      expect(revisions).to.deep.equal(['1', '2', '2', '3']);
      const twin = twinOf(ada);
      await twin.get('/counter');
      await ada.get('/counter');
      expect(ada.cookie?.split('.')[1]).to.equal('5');
    } finally {
      await near.close?.();
    }
  });

  it('without the cache, tokens have no revision, and those that have one are taken', async () => {
    const store = new CountingStore();
    const near = nearCache(store);
    try {
      const cached = await createSite(handlers, { store: near, keyring: ['secret'] });
      const plain = await createSite(handlers, { store, keyring: ['secret'] });
      const ada = cached.visitor();
      await ada.get('/begin');
      const rolledBack = twinOf(ada);
      Object.assign(rolledBack, { url: plain.served.url });
      expect((await rolledBack.get('/counter')).json()).to.deep.equal({ counter: 1 });
      expect(rolledBack.cookie?.split('.')).to.have.length(2);
      Object.assign(rolledBack, { url: cached.served.url });
      expect((await rolledBack.get('/counter')).json()).to.deep.equal({ counter: 2 });
      expect(rolledBack.cookie?.split('.')).to.have.length(3);
    } finally {
      await near.close?.();
    }
  });
});
