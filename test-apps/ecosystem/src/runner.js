import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { knownFailure } from './rows.js';
import { Trial } from './trial.js';

/** Long enough for the first page of a framework that compiles it. */
const LIMIT = { light: 50_000, heavy: 180_000 };

/**
 * Runs one row on one system.
 * @returns {Promise<Error | undefined>} why it failed
 */
export async function runRow(row, system) {
  if (row.apart) {
    const { apart: _, ...rest } = row;
    const worker = new Worker(new URL('./thread.js', import.meta.url), { workerData: { row: rest, id: system.id } });
    const [message] = await once(worker, 'message');
    await worker.terminate();
    return message && Object.assign(new Error(message.message), { stack: message.stack });
  }
  const trial = new Trial(system);
  const limit = row.heavy ? LIMIT.heavy : LIMIT.light;
  const abort = new AbortController();
  try {
    const { default: run } = await import(`./rows/${row.module}.js`);
    const timeout = delay(limit, undefined, { signal: abort.signal, ref: false }).then(() => {
      throw new Error(`not done within ${limit / 1000} s`);
    });
    timeout.catch(() => undefined);
    await Promise.race([run(trial, row.argument), timeout]);
    return undefined;
  } catch (error) {
    return explain(error, trial.errors);
  } finally {
    abort.abort();
    await trial.close();
  }
}

/** How a row's outcome on a system differs from what the table says; `undefined` if it doesn't. */
export function mismatch(row, system, failure) {
  const known = knownFailure(row, system.id);
  if (!known) return failure;
  if (!failure) return new Error(`passes, and the table says: ${known.why}`);
  return failure.message.includes(known.shows) ? undefined : failure;
}

function explain(error, appErrors) {
  const cause = appErrors.at(-1);
  if (cause && cause !== error) error.message += `\n  the app's last error: ${cause.stack ?? cause}`;
  return error;
}
