import fs, { closeSync, openSync } from 'node:fs';
import { mkdir, opendir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { codeOf } from './errors.js';
import { Queues } from './queues.js';

const fsync = promisify(fs.fsync);

/** The names in a folder, in batches, read on as they are taken: there may be millions. None where there is no folder. */
export async function* readFolder(path: string, batchSize: number): AsyncGenerator<string[], void> {
  let batch: string[] = [];
  try {
    for await (const { name } of await opendir(path, { bufferSize: 256 })) {
      if (batch.push(name) < batchSize) continue;
      yield batch;
      batch = [];
    }
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error;
  }
  if (batch.length > 0) yield batch;
}

/** Makes a folder, and missing ones above it. */
export async function makeFolder(path: string, flush: boolean): Promise<void> {
  const first = await mkdir(path, { recursive: true, mode: 0o700 });
  if (!flush || first === undefined) return;
  // Each new folder is a name in the one above, which must reach the disk before a session counts as stored.
  for (let made = path; made.length >= first.length; made = dirname(made)) await flushFolder(dirname(made));
}

const flushes: Queues = new Queues();

/** The flush of each folder that hasn't started yet. */
const waiting: Map<string, Promise<void>> = new Map();

/**
 * Waits until the disk has the names in a folder: only then does a renamed or removed file stay so. One flush serves all
 * calls that came before it started.
 */
export function flushFolder(path: string): Promise<void> {
  const queued = waiting.get(path);
  if (queued) return queued;
  const flush = flushes.run(path, () => {
    waiting.delete(path);
    return flushNow(path);
  });
  waiting.set(path, flush);
  return flush;
}

async function flushNow(path: string): Promise<void> {
  if (process.platform === 'win32') return; // Windows can't flush a folder
  // The calls before have brought it into memory, so nothing waits for the disk here.
  const folder = openSync(path, fs.constants.O_RDONLY);
  try {
    await fsync(folder);
  } catch (error) {
    if (codeOf(error) !== 'EINVAL') throw error; // nor can some file systems
  } finally {
    closeSync(folder);
  }
}
