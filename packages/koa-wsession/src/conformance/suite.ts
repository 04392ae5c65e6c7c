import type { StoreOptions } from '../store/options.js';
import type { Store } from '../store/store.js';
import { Clock } from './clock.js';
import type { StoreFixture, TestRunner } from './fixture.js';

/** What the tests of all parts share: the runner, the fixture, one clock, and stores that are closed after each test. */
export interface Suite extends TestRunner {
  readonly fixture: StoreFixture;
  readonly clock: Clock;
  /** A new store, until `tidy`. */
  open(options?: StoreOptions): Promise<Store>;
  /** Two stores on one storage; twice the same one where stores are isolated. */
  openTwo(): Promise<readonly [Store, Store]>;
  /** Runs `end` after the test, before the stores are closed. */
  onTidy(end: () => Promise<void>): void;
  /** For `afterEach`: resets the clock, then ends what the test opened, the newest first. */
  tidy(): Promise<void>;
}

export function createSuite({ describe, it, afterEach }: TestRunner, fixture: StoreFixture): Suite {
  const clock = new Clock();
  const ends: Array<() => unknown> = [];
  const open = async (options?: StoreOptions): Promise<Store> => {
    const store = await fixture.create(options);
    ends.push(() => store.close?.());
    return store;
  };
  return {
    describe,
    it,
    afterEach,
    fixture,
    clock,
    open,
    async openTwo() {
      const store = await open();
      return [store, fixture.isolated ? store : await open()];
    },
    onTidy: (end) => void ends.push(end),
    async tidy() {
      clock.restore();
      for (const end of ends.splice(0).reverse()) await end();
    },
  };
}
