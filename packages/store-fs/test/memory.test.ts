import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FsStore } from '@koa-wsession/store-fs';
import { expect } from 'chai';
import { canMeasureHeap, heapGrowth, passThrough } from 'testkit';

/** Takes minutes, and a collector to call: `npm run soak`. */
(canMeasureHeap ? describe : describe.skip)('The memory of FsStore', () => {
  it('stays flat within 2 MB over 200,000 sessions', async function () {
    this.timeout(900_000);
    const directory = await mkdtemp(join(tmpdir(), 'store-fs-'));
    const store = new FsStore({ directory, fsync: false, sweepInterval: false });
    try {
      expect(await heapGrowth(200_000, 100, () => passThrough(store))).to.be.below(2e6);
    } finally {
      await store.close();
      await rm(directory, { recursive: true });
    }
  });
});
