import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FsStore } from '@koa-wsession/store-fs';
import { conformance } from 'koa-wsession/conformance';

const directory = await mkdtemp(join(tmpdir(), 'store-fs-'));
after(() => rm(directory, { recursive: true }));

conformance(
  { describe, it, afterEach },
  {
    name: 'FsStore',
    create: (options) => new FsStore({ directory, ...options }),
    capabilities: { seals: false, merges: true, revokes: true },
    corrupt: (key) => writeFile(join(directory, `weppy_${key}.sess`), '2,broken'),
    async fail() {
      await rename(directory, `${directory}.away`);
      await writeFile(directory, 'no folder');
    },
    async restore() {
      await rm(directory);
      await rename(`${directory}.away`, directory);
    },
  },
);
