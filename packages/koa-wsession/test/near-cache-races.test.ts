import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect } from 'chai';
import { MemoryStore } from 'koa-wsession/memory';
import { nearCache } from 'koa-wsession/near-cache';
import {
  type Absent,
  type ChangeListener,
  type Changes,
  isRecord,
  type SessionRecord,
  type Store,
} from 'koa-wsession/store';
import { type SinonFakeTimers, useFakeTimers } from 'sinon';

/* Random races of two processes, each with a cache, on feeds that are late, out of order, half-open, or lost. */

const ROUNDS = Number(process.env.CONFORMANCE_ROUNDS ?? 40) * 15;
const MAX_AGE = 1000;
const KEYS = ['a'.repeat(43), 'b'.repeat(43)];
type Random = (below: number) => number;

/** One process's connection for announcements. What it has received is heard when the test says so. */
class LateFeed {
  #listener: ChangeListener | undefined;
  #isUp = true;
  /** Changes, and the ends of syncs, in the order in which they were made. */
  #queue: Array<string | (() => void)> = [];

  subscribe(listener: ChangeListener): () => void {
    this.#listener = listener;
    return () => undefined;
  }

  sync(): Promise<void> {
    if (!this.#isUp) return Promise.reject(new Error('no connection'));
    return new Promise((resolve) => this.#queue.push(resolve));
  }

  /** Changes of a key in a row may have one announcement. */
  changed(key: string, random: Random): void {
    if (!this.#isUp || (this.#queue.at(-1) === key && random(4) > 0)) return;
    this.#queue.push(key);
  }

  /** Hears some of what it received: in order, but for changes before the next sync, which come in any. */
  hear(random: Random): void {
    for (let count = random(4); count > 0 && this.#queue.length > 0; count--) {
      const end = this.#queue.findIndex((one) => typeof one !== 'string');
      const [heard] = this.#queue.splice(end === 0 ? 0 : random(end < 0 ? this.#queue.length : end), 1);
      if (typeof heard === 'string') this.#listener?.changed(heard);
      else heard?.();
    }
  }

  /** The connection is lost, with what it hadn't been heard yet; noticed at once, or only when there is another. */
  lose(isNoticed: boolean): void {
    this.#isUp = false;
    this.#queue = [];
    if (isNoticed) this.#listener?.gap();
  }

  reconnect(): void {
    if (this.#isUp) return;
    this.#isUp = true;
    this.#listener?.gap();
  }
}

/** The store of all processes. Each call reaches it some turns later, and is answered some turns after that. */
class SlowStore extends MemoryStore {
  readonly feeds: LateFeed[] = [];
  /** Each record that there was, and since when. */
  readonly history: Map<string, Array<{ record: SessionRecord; at: number }>> = new Map();
  readonly #random: Random;

  constructor(random: Random) {
    super();
    this.#random = random;
    for (const key of KEYS) {
      const now = Date.now();
      const record = { entries: new Map(), createdAt: now, updatedAt: now, expiresAt: now + 3.6e9, revision: 1 };
      super.create(key, record);
      this.history.set(key, [{ record, at: performance.now() }]);
    }
  }

  /** The store as one process sees it. */
  open(feed: LateFeed): Store {
    this.feeds.push(feed);
    const slow = async <T>(work: () => T): Promise<T> => {
      await this.#pause();
      const answer = work();
      await this.#pause();
      if (this.#random(10) === 0) throw new Error('the answer got lost');
      return answer;
    };
    return {
      ...{ expire: 3600, secure: false, domain: undefined, capabilities: this.capabilities, changes: feed },
      load: (key) => slow(() => this.load(key)),
      create: () => ({ outcome: 'exists' }),
      update: (key, changes) =>
        slow(() => {
          const answer = this.update(key, changes);
          this.history.get(key)?.push({ record: this.load(key) as SessionRecord, at: performance.now() });
          for (const one of this.feeds) one.changed(key, this.#random);
          return answer;
        }),
      destroy: () => ({ outcome: 'none' }),
    };
  }

  async #pause(): Promise<void> {
    for (let turns = this.#random(4); turns > 0; turns--) await nextTurn();
  }

  /** The lowest revision that a read may show which began at an instant: that of maxAge before. */
  lowest(key: string, began: number): number {
    const history = this.history.get(key) ?? [];
    return Math.max(...history.filter(({ at }) => at <= began - MAX_AGE).map(({ record }) => record.revision), 1);
  }
}

describe('random races through two near caches', () => {
  let clock: SinonFakeTimers;
  beforeEach(() => {
    clock = useFakeTimers({ toFake: ['Date', 'performance', 'setInterval', 'clearInterval'] });
  });
  afterEach(() => clock.restore());

  it(`${ROUNDS} rounds: no read is below its token, none over maxAge behind, none below a write that this process had answered`, async function () {
    this.timeout(120_000);
    const seed = Number(process.env.CONFORMANCE_SEED ?? Math.floor(Math.random() * 2 ** 31));
    const random = randomFrom(seed);
    const count = { hits: 0, stale: 0 };
    for (let round = 0; round < ROUNDS; round++) await race(random, `CONFORMANCE_SEED=${seed}, round ${round}`, count);
    expect(count.hits, 'hits').to.be.above(ROUNDS);
    expect(count.stale, 'hits that are behind, as they may be').to.be.above(ROUNDS / 20);
  });

  async function race(random: Random, story: string, count: { hits: number; stale: number }): Promise<void> {
    const store = new SlowStore(random);
    const caches = [0, 1].map(() => nearCache(store.open(new LateFeed()), { maxAge: MAX_AGE }));
    /** The newest revision that each process was told of a key by a write of its own. */
    const written = caches.map(() => new Map<string, number>());
    const newest = new Map<string, number>();
    const running: Promise<unknown>[] = [];

    const read = async (process: number, key: string): Promise<void> => {
      const knows = random(2) === 0;
      const atLeast = knows ? (newest.get(key) ?? 1) : 1;
      const lowest = Math.max(atLeast, store.lowest(key, performance.now()), written[process]?.get(key) ?? 1);
      const current = store.history.get(key)?.at(-1)?.record.revision ?? 1;
      const answer = caches[process]?.load(key, { name: 'n', deadline: 0, atLeast });
      if (!(answer instanceof Promise)) {
        count.hits++;
        if ((answer as SessionRecord).revision < current) count.stale++;
      }
      const found: SessionRecord | Absent = await answer;
      if (!isRecord(found)) throw new Error(`There is no record: ${story}`);
      expect(found.revision, story).to.be.at.least(lowest);
      expect(found, story).to.deep.equal(store.history.get(key)?.[found.revision - 1]?.record);
    };
    const write = async (process: number, key: string): Promise<void> => {
      const [now, entry] = [Date.now(), String(random(3))];
      const set = new Map(random(4) === 0 ? [] : [[entry, String(random(1e6))]]);
      const expiresAt = random(2) === 0 ? now + 3.6e9 : undefined;
      const changes: Changes = { set, delete: set.size > 0 ? [] : [entry], updatedAt: now, expiresAt };
      const answer = await caches[process]?.update(key, changes, { name: 'n', deadline: 0 });
      const revision = answer?.outcome === 'updated' ? answer.revision : 0;
      for (const known of [newest, written[process]]) known?.set(key, Math.max(revision, known.get(key) ?? 1));
    };
    const ignoreLoss = (error: Error): void => {
      if (error.message !== 'the answer got lost') throw error;
    };

    for (let step = 0; step < 80; step++) {
      const [process, key, feed] = [
        random(2),
        KEYS[Math.max(0, random(4) - 2)] as string,
        store.feeds[random(2)] as LateFeed,
      ];
      const choice = random(16);
      if (choice < 6) running.push(read(process, key).catch(ignoreLoss));
      else if (choice < 8) running.push(write(process, key).catch(ignoreLoss));
      else if (choice < 11) for (const one of store.feeds) one.hear(random);
      else if (choice < 14) await clock.tickAsync(random(400));
      else if (choice === 14 && random(4) === 0) feed.lose(random(2) === 0);
      else feed.reconnect();
      if (random(3) === 0) await nextTurn();
    }
    await Promise.all(running);
    for (const cache of caches) await cache.close?.();
  }
});

/** mulberry32 */
function randomFrom(seed: number): Random {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}
