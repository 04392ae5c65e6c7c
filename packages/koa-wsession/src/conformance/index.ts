import type { StoreOptions } from '../options.js';
import type { Awaitable, Capabilities, Store } from '../store.js';
import { describeContract } from './contract.js';
import { describeRaces } from './races.js';
import { describeSessions } from './sessions.js';

/** The functions of your test runner: mocha's, or others with the same meaning. */
export interface TestRunner {
  /** Groups tests. */
  describe(title: string, body: () => void): unknown;
  /** A test. */
  it(title: string, body: () => Promise<void> | void): unknown;
  /** After each test of the group. */
  afterEach(body: () => Promise<void> | void): unknown;
}

/** The store under test. */
export interface Subject {
  /** How it is called in the titles. */
  readonly name: string;
  /** A store. All stores that it makes share one storage, as those of several processes do. */
  create(options?: StoreOptions): Awaitable<Store>;
  /** What it can do. Where it can't, the suite tests that it behaves as a store that can't. */
  readonly capabilities: Capabilities;
  /** The stores of `create` don't share their storage (a store in memory): leaves out what takes two of them. */
  readonly separate?: boolean;
  /** `false` for a store on the server that can't list an owner's sessions. */
  readonly owners?: false;
  /** Damages the record under this key (may be asynchronous, as the next two), so that it is there and can't be read. Not for a store that seals. */
  corrupt?(key: string): unknown;
  /** Makes the storage fail. */
  breakIt?(): unknown;
  /** Makes it work again. */
  mendIt?(): unknown;
}

/**
 * The suite that every store has to pass, in the store's own mocha:
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
 * It tests the contract by itself, then what a visitor sees of it over HTTP, then random races. Nothing is skipped because of a
 * store's name, and for what a store declares it can't do, the opposite is tested.
 */
export function conformance(runner: TestRunner, subject: Subject): void {
  runner.describe(`${subject.name}: the contract`, () => describeContract(runner, subject));
  runner.describe(`${subject.name}: sessions over HTTP`, () => describeSessions(runner, subject));
  runner.describe(`${subject.name}: races`, () => describeRaces(runner, subject));
}
