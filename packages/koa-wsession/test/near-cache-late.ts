import { setImmediate as nextTurn } from 'node:timers/promises';
import { MemoryStore } from 'koa-wsession/memory';
import {
  type ChangeListener,
  type Changes,
  type Created,
  type DestroyCall,
  type Destroyed,
  isRecord,
  type SessionRecord,
  type Store,
  type Updated,
} from 'koa-wsession/store';

/* A store that is shared by processes, with feeds that are late, out of order, half-open, or lost. */

/** Of the store's errors. */
export const LOST = 'the answer got lost';

export type Random = (below: number) => number;

/** One process's connection for announcements. What it has received is heard when the test says so. */
export class LateFeed {
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

/** A record, or that it ended, and since when. */
export interface Version {
  readonly record: SessionRecord | undefined;
  readonly at: number;
}

/** The store of all processes. Each call reaches it some turns later, and is answered some turns after that. */
export class SlowStore extends MemoryStore {
  readonly feeds: LateFeed[] = [];
  /** What each key has had, in order; the record of revision n comes at n - 1. */
  readonly history: Map<string, Version[]> = new Map();
  readonly #random: Random;
  readonly #losses: number;

  /** One answer in `losses` gets lost. */
  constructor(random: Random, losses: number) {
    super();
    this.#random = random;
    this.#losses = losses;
  }

  override create(key: string, record: SessionRecord): Created {
    const answer = super.create(key, record);
    if (answer.outcome === 'created') this.history.set(key, [{ record, at: performance.now() }]);
    return answer;
  }

  override update(key: string, changes: Changes): Updated {
    const answer = super.update(key, changes);
    if (answer.outcome === 'updated') this.#changed(key);
    return answer;
  }

  override destroy(key: string, call: DestroyCall): Destroyed {
    const answer = super.destroy(key, call);
    if (answer.outcome === 'destroyed') this.#changed(key);
    return answer;
  }

  #changed(key: string): void {
    const found = this.load(key);
    this.history.get(key)?.push({ record: isRecord(found) ? found : undefined, at: performance.now() });
    for (const feed of this.feeds) feed.changed(key, this.#random);
  }

  /** The store as one process sees it, with its feed. */
  open(feed: LateFeed): Store {
    this.feeds.push(feed);
    const slow = async <T>(work: () => T): Promise<T> => {
      await this.#pause();
      const answer = work();
      await this.#pause();
      if (this.#random(this.#losses) === 0) throw new Error(LOST);
      return answer;
    };
    return {
      ...{ expire: 3600, secure: false, domain: undefined, capabilities: this.capabilities, changes: feed },
      load: (key) => slow(() => this.load(key)),
      create: (key, record) => slow(() => this.create(key, record)),
      update: (key, changes) => slow(() => this.update(key, changes)),
      destroy: (key, call) => slow(() => this.destroy(key, call)),
    };
  }

  async #pause(): Promise<void> {
    for (let turns = this.#random(4); turns > 0; turns--) await nextTurn();
  }

  /** Where in the history of a key that begins which a read may show that began at an instant: what there was `maxAge` before. */
  oldest(key: string, began: number, maxAge: number): number {
    const history = this.history.get(key) ?? [];
    return Math.max(
      0,
      history.findLastIndex(({ at }) => at <= began - maxAge),
    );
  }
}

/** mulberry32 */
export function randomFrom(seed: number): Random {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}
