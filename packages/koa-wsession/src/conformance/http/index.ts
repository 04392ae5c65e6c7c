import type { Suite } from '../suite.js';
import { describeData } from './data.js';
import { describeFaults } from './faults.js';
import { describeFlash } from './flash.js';
import { describeEnds, describeTwoLogins } from './logins.js';
import { describeOwners } from './owners.js';
import { describeParallel } from './parallel.js';

/** What a visitor sees of a store over HTTP, where stores differ; the core's own tests have the rest. */
export function describeHttp(suite: Suite): void {
  const { describe } = suite;
  describe('over HTTP', () => {
    describe('data', () => describeData(suite));
    describe('parallel requests', () => describeParallel(suite));
    describe('logout and login', () => describeEnds(suite));
    describe('a login clicked twice', () => describeTwoLogins(suite));
    describe('flash messages', () => describeFlash(suite));
    describe('owners', () => describeOwners(suite));
    describe('faults', () => describeFaults(suite));
  });
}
