/*
 * One system in a process of its own. It tells its parent its port, and its CPU time on request, and ends with the parent.
 */
import { Session } from 'node:inspector/promises';
import { setTimeout as delay } from 'node:timers/promises';

const [id, context] = process.argv.slice(2);
const { create } = await import(`./systems/${id}.js`);
const server = await create(JSON.parse(context));
server.keepAliveTimeout = 0;
server.listen(0, '127.0.0.1', () => process.send({ port: server.address().port }));

const inspector = new Session();

/** What the parent may ask. */
const answers = {
  /** Microseconds of CPU so far, of all threads. */
  cpu() {
    const { user, system } = process.cpuUsage();
    return user + system;
  },
  /** Samples what is allocated from now on; without the young, only what outlives the next collection. */
  async startSampling({ withYoung }) {
    inspector.connect();
    await inspector.post('HeapProfiler.startSampling', {
      samplingInterval: 1024,
      includeObjectsCollectedByMajorGC: true,
      includeObjectsCollectedByMinorGC: withYoung,
    });
  },
  async stopSampling() {
    const { profile } = await inspector.post('HeapProfiler.stopSampling');
    return profile;
  },
  async end() {
    await delay(20); // lets a profile or a trace finish
    process.exit();
  },
};

process.on('message', async ({ question, how }) => process.send({ answer: await answers[question](how) }));
process.on('disconnect', () => process.exit());
