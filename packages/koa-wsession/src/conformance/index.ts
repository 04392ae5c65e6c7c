import { describeContract } from './contract/index.js';
import type { StoreFixture, TestRunner } from './fixture.js';
import { describeHttp } from './http/index.js';
import { describeRaces } from './races/index.js';
import { createSuite } from './suite.js';

export type { StoreFixture, TestRunner } from './fixture.js';

/**
 * The tests that every store has to pass, in the store's own test runner:
 *
 * ```ts
 * import { conformance } from 'koa-wsession/conformance';
 *
 * conformance({ describe, it, afterEach }, {
 *   name: 'MyStore',
 *   create: (options) => new MyStore(options),
 *   capabilities: { seals: false, merges: true, revokes: true },
 * });
 * ```
 *
 * It tests the contract of `Store` call by call, then what a visitor sees over HTTP, then random races between requests.
 * Nothing is skipped because of a store's name, and for what a store declares it can't do, the opposite is tested.
 * Some tests store 1,000 records or wait for an outage: allow 20 seconds for each (mocha's `timeout`). A race that fails
 * prints its seed; the variables `CONFORMANCE_SEED` and `CONFORMANCE_ROUNDS` (default 40) repeat it or try more.
 */
export function conformance(runner: TestRunner, fixture: StoreFixture): void {
  const suite = createSuite(runner, fixture);
  suite.describe(`${fixture.name}: conformance`, () => {
    suite.afterEach(() => suite.tidy());
    describeContract(suite);
    describeHttp(suite);
    describeRaces(suite);
  });
}
