import { parentPort, workerData } from 'node:worker_threads';
import { runRow } from './runner.js';
import { openSystem } from './systems.js';

// A row in a thread of its own. The message is what it failed with, or `undefined`.
const system = await openSystem(workerData.id);
const failure = await runRow(workerData.row, system);
await system.close();
parentPort.postMessage(failure && { message: failure.message, stack: failure.stack });
