/* Sweeps a folder once, and tells its parent how that went. */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { FsStore } from '@koa-wsession/store-fs';

const store = new FsStore({ directory: process.argv[2], sweepInterval: false });
const delay = monitorEventLoopDelay({ resolution: 1 });
await new Promise((resolve) => setTimeout(resolve, 100)); // the start of the process isn't the sweep's doing

delay.enable();
const start = performance.now();
const removed = await store.sweep();
const seconds = (performance.now() - start) / 1000;
await new Promise((resolve) => setTimeout(resolve, 10)); // the last turn counts, too
delay.disable();
process.send({ removed, seconds, longest: delay.max / 1e6 });
process.disconnect();
