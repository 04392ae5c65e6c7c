import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startServer, withDirectory } from './children.js';
import { drive, withVisitors } from './client.js';
import { table } from './report.js';
import { portsOf, withServers } from './servers.js';

/** Milliseconds of load that the profile leaves out. */
const WARM_UP = 2000;
const MEASURED = 5000;

/**
 * Where the CPU time of a system at a work goes, by function and by package.
 * @returns {Promise<string>} tables
 */
export async function profile(system, work) {
  return withServers([system.kind], (servers) =>
    withDirectory((directory) =>
      withDirectory(async (profiles) => {
        const nodeOptions = ['--cpu-prof', `--cpu-prof-dir=${profiles}`, '--cpu-prof-interval=200'];
        const server = await startServer(system, { ...portsOf(servers), directory }, { nodeOptions });
        try {
          await withVisitors(server.port, work, 32, (visitors) => drive(visitors, WARM_UP + MEASURED));
        } finally {
          await server.stop();
        }
        const [name] = await readdir(profiles);
        return describe(JSON.parse(await readFile(join(profiles, name), 'utf8')));
      }),
    ),
  );
}

/** Self time on the main thread (file operations run on others), after the warm-up. */
function describe({ nodes, samples, timeDeltas, startTime }) {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const byFunction = new Map();
  const byOurs = new Map();
  const byPackage = new Map();
  let total = 0;
  let now = startTime;
  samples.forEach((id, index) => {
    const spent = Math.max(0, timeDeltas[index]);
    now += timeDeltas[index];
    const { callFrame } = byId.get(id);
    if (now - startTime < WARM_UP * 1000 || callFrame.functionName === '(idle)') return;
    const { owner, place } = placeOf(callFrame);
    total += spent;
    byFunction.set(place, (byFunction.get(place) ?? 0) + spent);
    if (owner.startsWith('packages/')) byOurs.set(place, byFunction.get(place));
    byPackage.set(owner, (byPackage.get(owner) ?? 0) + spent);
  });
  const rows = (times, title, most) => {
    const sorted = [...times].sort(([, a], [, b]) => b - a).slice(0, most);
    return table([[title, 'self'], ...sorted.map(([name, time]) => [name, `${((100 * time) / total).toFixed(1)} %`])]);
  };
  return [rows(byPackage, 'package', 12), rows(byFunction, 'function', 30), rows(byOurs, 'function of ours', 30)].join(
    '\n\n',
  );
}

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

/** Whose a function is, and how the tables name it. */
export function placeOf({ functionName, url, lineNumber }) {
  const { owner, file } = fileOf(url, functionName);
  return { owner, place: `${functionName || '(anonymous)'}  ${file}${url ? `:${lineNumber + 1}` : ''}` };
}

function fileOf(url, functionName) {
  if (url === '') return { owner: functionName === '(garbage collector)' ? functionName : '(native)', file: '' };
  if (url.startsWith('node:')) return { owner: '(node)', file: url };
  const file = (url.startsWith('file:') ? fileURLToPath(url) : url).replace(ROOT, '');
  const installed = /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(file);
  return {
    owner: installed?.[1] ?? file.split('/').slice(0, 2).join('/'),
    file: installed ? file.replace(/.*node_modules\//, '') : file,
  };
}
