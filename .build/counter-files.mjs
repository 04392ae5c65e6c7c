import { once } from 'node:events';
import { Session } from 'node:inspector/promises';
import { join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import Koa from 'koa';

const packages = resolve(import.meta.dirname, '../packages');

/** The files of the core, its store included, in which a request to the counter of the README calls a function. */
export async function filesOfACounterRequest() {
  const { session } = await import('koa-wsession');
  const { MemoryStore } = await import('koa-wsession/memory');
  const app = new Koa();
  app.use(session(new MemoryStore()));
  app.use((ctx) => {
    ctx.body = ctx.session.counter = (ctx.session.counter ?? 0) + 1;
  });
  const server = app.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const get = (cookie) => fetch(`http://127.0.0.1:${server.address().port}/`, { headers: cookie ? { cookie } : {} });
  const cookie = (await get()).headers.getSetCookie()[0].split(';')[0];

  const inspector = new Session();
  inspector.connect();
  await inspector.post('Profiler.enable');
  await inspector.post('Profiler.startPreciseCoverage', { callCount: true, detailed: false });
  const response = await get(cookie);
  const { result } = await inspector.post('Profiler.takePreciseCoverage');
  inspector.disconnect();
  server.close();
  server.closeAllConnections();
  if ((await response.text()) !== '2') throw new Error('the counter did not count');

  return result
    .filter(({ url }) => url.startsWith('file:') && fileURLToPath(url).startsWith(join(packages, 'koa-wsession')))
    .filter(({ functions }) => functions.some(({ functionName, ranges }) => functionName !== '' && ranges[0].count > 0))
    .map(({ url }) => relative(packages, fileURLToPath(url)))
    .sort();
}
