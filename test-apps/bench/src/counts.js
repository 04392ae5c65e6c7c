import { startServer, withDirectory } from './children.js';
import { withVisitors } from './client.js';
import { canTrace, traceCalls, withCountingProxy } from './tally.js';

/** Requests before the count begins: the script is sent, folders are created, threads are started. */
const FIRST = 40;
/** Requests that are counted. The counter stays at three digits, the revision at two, also in base 36. */
const COUNTED = 20;

/**
 * @typedef {object} Count per request, of one system at one work
 * @property {string} system
 * @property {string} work
 * @property {number} cookieBytes of the value of the header `Cookie`
 * @property {number} setCookieBytes of the value of the header `Set-Cookie`, or of several together
 * @property {{ commands: number, bytesSent: number, bytesReceived: number }} redis
 * @property {{ files: number, sockets: number, byName: Record<string, number> } | undefined} calls system calls on files
 *   (by name), and on sockets; undefined where there is no `strace`
 */

/**
 * Counts what a request costs, where noise can't hide it. Starts the system in a process of its own.
 *
 * @param {import('./systems.js').System} system
 * @param {import('./works.js').Work} work
 * @param {number} redisPort of a Redis that no other process uses
 * @returns {Promise<Count>}
 */
export function countRequests(system, work, redisPort) {
  return withCountingProxy(redisPort, (proxy) =>
    withDirectory(async (directory) => {
      const server = await startServer(system, { redisPort: proxy.port, directory });
      try {
        return await withVisitors(server.port, work, 1, async ([visitor]) => {
          for (let i = 0; i < FIRST; i++) await visitor.visit();

          const { cookieBytes } = visitor;
          const before = proxy.totals();
          let setCookieBytes = 0;
          for (let i = 0; i < COUNTED; i++) {
            const { setCookie } = await visitor.visit();
            setCookieBytes += setCookie.reduce((sum, line) => sum + line.length, 0);
          }
          const after = proxy.totals();

          const traced = canTrace ? await traceCalls(server.pid, () => visits(visitor, COUNTED)) : undefined;
          await visitor.prove();
          return {
            system: system.id,
            work: work.id,
            cookieBytes,
            setCookieBytes: setCookieBytes / COUNTED,
            redis: perRequest(before, after),
            calls: traced && callsPerRequest(traced.calls),
          };
        });
      } finally {
        await server.stop();
      }
    }),
  );
}

async function visits(visitor, number) {
  for (let i = 0; i < number; i++) await visitor.visit();
}

function perRequest(before, after) {
  return {
    commands: (after.commands - before.commands) / COUNTED,
    bytesSent: (after.bytesSent - before.bytesSent) / COUNTED,
    bytesReceived: (after.bytesReceived - before.bytesReceived) / COUNTED,
  };
}

function callsPerRequest({ files, sockets }) {
  const sum = (calls) => Object.values(calls).reduce((total, number) => total + number, 0) / COUNTED;
  const byName = Object.fromEntries(Object.entries(files).map(([name, number]) => [name, number / COUNTED]));
  return { files: sum(files), sockets: sum(sockets), byName };
}
