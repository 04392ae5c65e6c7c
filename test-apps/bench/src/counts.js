import { startServer, withDirectory } from './children.js';
import { withVisitors } from './client.js';
import { withProxy } from './proxy.js';
import { portsOf } from './servers.js';
import { canTrace, traceCalls } from './tally.js';

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
 * @property {import('./proxy.js').Traffic | undefined} traffic with its database server, if it has one
 * @property {{ files: number, sockets: number, byName: Record<string, number> } | undefined} calls system calls on files
 *   (by name), and on sockets; undefined where there is no `strace`
 */

/**
 * Counts what a request costs, where noise can't hide it. Starts the system in a process of its own.
 *
 * @param {import('./systems.js').System} system
 * @param {import('./works.js').Work} work
 * @param {import('./servers.js').Servers} servers that nothing else uses
 * @returns {Promise<Count>}
 */
export async function countRequests(system, work, servers) {
  await servers[system.kind]?.empty();
  return withDatabase(system, servers, (ports, totals) =>
    withDirectory(async (directory) => {
      const server = await startServer(system, { ...ports, directory, maxAge: 60_000 });
      try {
        return await withVisitors(server.port, work, 1, async ([visitor]) => {
          if (system.caches && work.before !== 'none') await cached(visitor, totals);
          for (let i = 0; i < FIRST; i++) await visitor.visit();

          const { cookieBytes } = visitor;
          const before = totals();
          let setCookieBytes = 0;
          for (let i = 0; i < COUNTED; i++) {
            const { setCookie } = await visitor.visit();
            setCookieBytes += setCookie.reduce((sum, line) => sum + line.length, 0);
          }
          const after = totals();

          const traced = canTrace ? await traceCalls(server.pid, () => visits(visitor, COUNTED)) : undefined;
          await visitor.prove();
          return {
            system: system.id,
            work: work.id,
            cookieBytes,
            setCookieBytes: setCookieBytes / COUNTED,
            traffic: before && perRequest(before, after),
            calls: traced && callsPerRequest(traced.calls),
          };
        });
      } finally {
        await server.stop();
      }
    }),
  );
}

/** Runs `use` with ports that lead to the servers, by a proxy where the system has one, and what passed through that. */
function withDatabase({ kind }, servers, use) {
  const server = servers[kind];
  if (!server) return use({}, () => undefined);
  return withProxy({ port: server.port, kind }, (proxy) =>
    use(portsOf({ [kind]: { port: proxy.port } }), () => proxy.totals()),
  );
}

/** Waits until the session is in the system's cache. */
async function cached(visitor, totals) {
  for (;;) {
    const { trips } = totals();
    await visitor.pass();
    if (totals().trips === trips) return;
  }
}

async function visits(visitor, number) {
  for (let i = 0; i < number; i++) await visitor.visit();
}

function perRequest(before, after) {
  return Object.fromEntries(Object.entries(after).map(([name, total]) => [name, (total - before[name]) / COUNTED]));
}

function callsPerRequest({ files, sockets }) {
  const sum = (calls) => Object.values(calls).reduce((total, number) => total + number, 0) / COUNTED;
  const byName = Object.fromEntries(Object.entries(files).map(([name, number]) => [name, number / COUNTED]));
  return { files: sum(files), sockets: sum(sockets), byName };
}
