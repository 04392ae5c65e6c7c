/* Sweeps a folder once, and tells its parent how that went. */
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { FsStore } from '@koa-wsession/store-fs';

const store = new FsStore({ directory: process.argv[2], sweepInterval: false });

/** Milliseconds for which this thread was ready to run and others ran (Linux; elsewhere they count as ours). */
function waited() {
  try {
    return Number(readFileSync('/proc/thread-self/schedstat', 'utf8').split(' ')[1]) / 1e6;
  } catch {
    return 0;
  }
}

let longest = 0;
let sweeping = true;

/** For as long as the sweep takes: how late is what should happen in a millisecond? */
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
await delay(100); // the start of the process isn't the sweep's doing
longest = 0;
const start = performance.now();
const removed = await store.sweep();
const seconds = (performance.now() - start) / 1000;
sweeping = false;
await watching;
process.send({ removed, seconds, longest });
process.disconnect();
