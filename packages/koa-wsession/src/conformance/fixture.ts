import type { StoreOptions } from '../store/options.js';
import type { Awaitable, Capabilities, Store } from '../store/store.js';

/** The functions of your test runner: those of mocha or `node:test`, or others with the same meaning. */
export interface TestRunner {
  /** Groups tests. */
  describe(title: string, body: () => void): unknown;
  /** Registers a test. */
  it(title: string, body: () => Promise<void> | void): unknown;
  /** Registers a function that runs after each test of the group, nested groups included. */
  afterEach(body: () => Promise<void> | void): unknown;
}

/** The store under test: what the author of a store writes. Only the first three members are required. */
export interface StoreFixture {
  /** The store's name in the titles of the tests. */
  readonly name: string;

  /**
   * Creates a store. All stores of a fixture share one storage, as those of several processes do; see `isolated`.
   * Pass `options` on to the constructor: the suite also passes invalid ones, which must throw an `OptionError`.
   * The suite closes each store after its test (`Store.close`). The storage itself, such as a client or a folder, is the
   * fixture's own: prepare and remove it with the hooks of your test runner. It needn't be emptied between tests.
   */
  create(options?: StoreOptions): Awaitable<Store>;

  /** What the store can do. For what it can't, the suite tests that the store behaves as documented for such a store. */
  readonly capabilities: Capabilities;

  /** `true`: two stores don't share their storage (a store in memory). Tests that take two stores then use one. */
  readonly isolated?: boolean;

  /** `false`: a store on the server without an index, so that sessions can't be listed by owner. */
  readonly index?: false;

  /** `false`: a store on the server that can't enumerate its records, so that `sessions.revokeAll()` isn't supported. */
  readonly scan?: false;

  /**
   * Damages the record under `key`, so that it is there and can't be read. May return a promise. Without it, the tests of
   * damaged records are left out. Not for a store that seals: for its tokens, the suite tests forged ones.
   */
  corrupt?(key: string): unknown;

  /**
   * Makes the storage fail for all stores: calls reject or get no answer (a stopped server, a folder that was moved
   * away). May return a promise. Goes with `restore`; without the two, the tests of outages are left out.
   */
  fail?(): unknown;

  /** Makes the storage work again, with the records that it had. May return a promise. */
  restore?(): unknown;
}
