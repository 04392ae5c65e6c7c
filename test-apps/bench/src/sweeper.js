/* Sweeps a folder once, and tells its parent the result. */
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { FsStore } from '@koa-wsession/store-fs';

const store = new FsStore({ directory: process.argv[2], sweepInterval: false });

/** Milliseconds for which this thread was ready to run while others ran (Linux; elsewhere 0). */
function waited() {
  try {
    return Number(readFileSync('/proc/thread-self/schedstat', 'utf8').split(' ')[1]) / 1e6;
  } catch {
    return 0;
  }
}

let longest = 0;
let sweeping = true;

/** During the sweep: how late a timer of one millisecond is. */
async function watch() {
  let [last, lastWaited] = [performance.now(), waited()];
  while (sweeping) {
    await delay(1);
    const [now, nowWaited] = [performance.now(), waited()];
    longest = Math.max(longest, now - last - 1 - (nowWaited - lastWaited));
    [last, lastWaited] = [now, nowWaited];
  }
}

const watching = watch();
await delay(100); // leaves out the start of the process
longest = 0;
const start = performance.now();
const removed = await store.sweep();
const seconds = (performance.now() - start) / 1000;
sweeping = false;
await watching;
process.send({ removed, seconds, longest });
process.disconnect();
