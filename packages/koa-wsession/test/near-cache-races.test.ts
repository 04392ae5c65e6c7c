import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect } from 'chai';
import { nearCache } from 'koa-wsession/near-cache';
import { type Absent, type Changes, isRecord, type SessionRecord } from 'koa-wsession/store';
import { type SinonFakeTimers, useFakeTimers } from 'sinon';
import { LateFeed, LOST, type Random, randomFrom, SlowStore } from './near-cache-late.js';

/* Random races of two processes, each with a cache, on feeds that are late, out of order, half-open, or lost. */

const ROUNDS = Number(process.env.CONFORMANCE_ROUNDS ?? 40) * 15;
const MAX_AGE = 1000;
const KEYS = ['a'.repeat(43), 'b'.repeat(43)];

describe('random races through two near caches', () => {
  let clock: SinonFakeTimers;
  beforeEach(() => {
    clock = useFakeTimers({ toFake: ['Date', 'performance', 'setInterval', 'clearInterval'] });
  });
  afterEach(() => clock.restore());

  it(`${ROUNDS} rounds: no read is below its token, none over maxAge behind, none below a write that this process had answered`, async function () {
    this.timeout(120_000 + ROUNDS * 500);
    const seed = Number(process.env.CONFORMANCE_SEED ?? Math.floor(Math.random() * 2 ** 31));
    const random = randomFrom(seed);
    const count = { hits: 0, stale: 0 };
    for (let round = 0; round < ROUNDS; round++) await race(random, `CONFORMANCE_SEED=${seed}, round ${round}`, count);
    expect(count.hits, 'hits').to.be.above(ROUNDS);
    expect(count.stale, 'hits that are behind, as they may be').to.be.above(ROUNDS / 20);
  });

  async function race(random: Random, story: string, count: { hits: number; stale: number }): Promise<void> {
    const store = new SlowStore(random, 10);
    const [createdAt, expiresAt] = [Date.now(), Date.now() + 3.6e9];
    for (const key of KEYS)
      store.create(key, { entries: new Map(), createdAt, updatedAt: createdAt, expiresAt, revision: 1 });
    const caches = [0, 1].map(() => nearCache(store.open(new LateFeed()), { maxAge: MAX_AGE }));
    /** The newest revision that each process was told of a key by a write of its own. */
    const written = caches.map(() => new Map<string, number>());
    const newest = new Map<string, number>();
    const running: Promise<unknown>[] = [];

    const read = async (process: number, key: string): Promise<void> => {
      const knows = random(2) === 0;
      const atLeast = knows ? (newest.get(key) ?? 1) : 1;
      const lowest = Math.max(
        atLeast,
        store.oldest(key, performance.now(), MAX_AGE) + 1,
        written[process]?.get(key) ?? 1,
      );
      const current = store.history.get(key)?.length ?? 1;
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
      if (error.message !== LOST) throw error;
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
