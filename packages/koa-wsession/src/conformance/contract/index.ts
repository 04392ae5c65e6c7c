import type { Suite } from '../suite.js';
import { describeCreate } from './create.js';
import { describeDestroy } from './destroy.js';
import { describeFaults } from './faults.js';
import { describeIndex } from './index-of-groups.js';
import { describeLoad } from './load.js';
import { describeOptions } from './options.js';
import { describeReplaced } from './replaced.js';
import { describeScan } from './scan.js';
import { describeUpdate } from './update.js';

/** The contract of `Store`, call by call. */
export function describeContract(suite: Suite): void {
  suite.describe('contract', () => {
    suite.describe('options', () => describeOptions(suite));
    suite.describe('load', () => describeLoad(suite));
    suite.describe('create', () => describeCreate(suite));
    suite.describe('update', () => describeUpdate(suite));
    suite.describe('destroy', () => describeDestroy(suite));
    suite.describe('destroy with replaced', () => describeReplaced(suite));
    suite.describe('index', () => describeIndex(suite));
    suite.describe('scan', () => describeScan(suite));
    describeFaults(suite);
  });
}
