import { startServer, withDirectory } from './children.js';
import { drive, withVisitors } from './client.js';
import { placeOf } from './profile.js';
import { table } from './report.js';
import { portsOf, withServers } from './servers.js';

/** Milliseconds. */
const WARM_UP = 1500;
const MEASURED = 3000;

/**
 * How many bytes a request allocates, and how many of them outlive the next collection of young objects: a request's objects
 * should not, since what outlives it has to be moved, and stays until a full collection.
 *
 * @returns {Promise<string>} tables
 */
export async function allocations(system, work) {
  const all = await sample(system, work, { withYoung: true });
  const outliving = await sample(system, work, { withYoung: false });
  return [describe('allocated', all), describe('outlive a collection', outliving)].join('\n\n');
}

/** A sample of a process of its own: V8 estimates all bytes from it. */
function sample(system, work, how) {
  return withServers([system.kind], (servers) =>
    withDirectory(async (directory) => {
      const server = await startServer(system, { ...portsOf(servers), directory });
      try {
        return await withVisitors(server.port, work, 32, async (visitors) => {
          await drive(visitors, WARM_UP);
          await server.ask('startSampling', how);
          const requests = await drive(visitors, MEASURED);
          return { requests, profile: await server.ask('stopSampling') };
        });
      } finally {
        await server.stop();
      }
    }),
  );
}

function describe(title, { requests, profile }) {
  const byFunction = new Map();
  let total = 0;
  const visit = ({ callFrame, selfSize, children }) => {
    const { place } = placeOf(callFrame);
    byFunction.set(place, (byFunction.get(place) ?? 0) + selfSize);
    total += selfSize;
    children.forEach(visit);
  };
  visit(profile.head);
  const rows = [...byFunction].sort(([, a], [, b]) => b - a).slice(0, 25);
  const perRequest = (bytes) => String(Math.round(bytes / requests));
  return table([
    ['function', `bytes a request, ${title}`],
    ['all', perRequest(total)],
    ...rows.map(([place, bytes]) => [place, perRequest(bytes)]),
  ]);
}
