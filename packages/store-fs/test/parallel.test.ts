import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describeSessionRaces } from 'testkit/session-races';
import { describeTwoProcesses } from 'testkit/two-processes';

describe('FsStore', () => {
  const directory = mkdtempSync(join(tmpdir(), 'store-fs-'));
  after(() => rmSync(directory, { recursive: true }));

  describeTwoProcesses(new URL('./worker.js', import.meta.url), () => [directory]);
  describeSessionRaces(new URL('./worker.js', import.meta.url), () => [directory]);
});
