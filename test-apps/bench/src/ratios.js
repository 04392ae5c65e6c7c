import { startServer, withDirectory } from './children.js';
import { drive, withVisitors } from './client.js';
import { portsOf, withServers } from './servers.js';
import { can, REFERENCE } from './systems.js';
import { WORKS } from './works.js';

/**
 * How often and how long (milliseconds). A round starts both processes anew; a slice is one measurement. The warm-up is a
 * number of requests, since a slow system would otherwise be measured before it is compiled: `start` (with the counter)
 * for new processes, `warmUp` for each work.
 */
export const FULL = {
  rounds: 5,
  slices: 4,
  slice: 500,
  start: { requests: 12_000, atMost: 8000 },
  warmUp: { requests: 8000, atMost: 5000 },
  visitors: 32,
};
export const QUICK = {
  rounds: 2,
  slices: 3,
  slice: 200,
  start: { requests: 6000, atMost: 3000 },
  warmUp: { requests: 4000, atMost: 2000 },
  visitors: 32,
};

/**
 * @typedef {object} Cell one system at one work, in multiples of what a request costs Koa alone
 * @property {string} system
 * @property {string} work
 * @property {number} median
 * @property {number} min
 * @property {number} max
 * @property {number} slices
 */

/**
 * @param {{ systems: import('./systems.js').System[], works: import('./works.js').Work[] }} selection
 * @param {typeof FULL} effort
 * @param {(text: string) => void} progress
 * @returns {Promise<{ cells: Cell[], failures: string[] }>}
 */
export async function measureRatios({ systems, works }, effort, progress) {
  /** @type {Map<string, number[]>} */
  const ratios = new Map();
  /** @type {Map<string, string>} */
  const failures = new Map();

  const kinds = systems.map(({ kind }) => kind);
  await withServers(kinds, async (servers) => {
    for (let round = 1; round <= effort.rounds; round++) {
      for (const system of systems) {
        if (failures.has(system.id)) continue;
        progress(`round ${round} of ${effort.rounds}: ${system.label}`);
        try {
          await servers[system.kind]?.empty();
          await withDirectory((directory) =>
            withPair(system, { ...portsOf(servers), directory }, effort, async (pair) => {
              for (const work of works.filter((work) => can(system, work))) {
                const measured = await measureSlices(pair, work, effort);
                const key = `${system.id} ${work.id}`;
                ratios.set(key, [...(ratios.get(key) ?? []), ...measured]);
              }
            }),
          );
        } catch (error) {
          failures.set(system.id, `${system.label}: ${error.message}`);
        }
      }
    }
  });

  const cells = Array.from(ratios, ([key, values]) => {
    const [system, work] = key.split(' ');
    return { system, work, ...summarize(values) };
  });
  return {
    cells: cells.filter(({ system }) => !failures.has(system)),
    failures: [...failures.values()],
  };
}

/** Runs `use` with the system and Koa alone, side by side on one core. */
export async function withPair(system, context, effort, use) {
  const reference = await startServer(REFERENCE, {});
  try {
    const subject = await startServer(system, context);
    try {
      const everything = can(system, COUNTER) ? COUNTER : REFERENCE_WORK;
      await measureSlices({ reference, subject }, everything, { ...effort, slices: 0, warmUp: effort.start });
      return await use({ reference, subject });
    } finally {
      await subject.stop();
    }
  } finally {
    await reference.stop();
  }
}

/** What Koa alone does: always the same page, without a cookie. */
const REFERENCE_WORK = {
  id: 'reference',
  title: 'Koa alone',
  before: 'none',
  path: () => '/untouched',
  body: () => 'untouched',
};

/** Loads, reads, writes. */
const COUNTER = WORKS.find(({ id }) => id === 'counter');

/** One ratio per slice, all with the same new visitors. */
export async function measureSlices({ reference, subject }, work, effort) {
  const { visitors } = effort;
  return withVisitors(reference.port, REFERENCE_WORK, visitors, (others) =>
    withVisitors(subject.port, work, visitors, async (ours) => {
      await warmUp(others, ours, effort.warmUp);
      const measured = [];
      for (let i = 0; i < effort.slices; i++) {
        measured.push(await measureSlice({ reference, subject }, others, ours, effort.slice));
      }
      for (const visitor of ours) await visitor.prove();
      return measured;
    }),
  );
}

async function warmUp(others, ours, { requests, atMost }) {
  const end = performance.now() + atMost;
  let done = 0;
  while (done < requests && performance.now() < end) {
    const [number] = await Promise.all([drive(ours, 100), drive(others, 100)]);
    done += number;
  }
}

/** The CPU time per request of the subject, in multiples of the reference's, with both under load at once. */
async function measureSlice({ reference, subject }, others, ours, milliseconds) {
  const [referenceBefore, subjectBefore] = await Promise.all([reference.cpu(), subject.cpu()]);
  const [referenceRequests, subjectRequests] = await Promise.all([
    drive(others, milliseconds),
    drive(ours, milliseconds),
  ]);
  const [referenceAfter, subjectAfter] = await Promise.all([reference.cpu(), subject.cpu()]);
  const ofReference = (referenceAfter - referenceBefore) / referenceRequests;
  return (subjectAfter - subjectBefore) / subjectRequests / ofReference;
}

export function summarize(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  const median = sorted.length % 2 === 1 ? sorted[Math.floor(middle)] : (sorted[middle - 1] + sorted[middle]) / 2;
  return { median, min: sorted[0], max: sorted[sorted.length - 1], slices: sorted.length };
}
