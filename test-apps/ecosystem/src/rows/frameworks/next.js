import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import next from 'next';

const ROOT = fileURLToPath(new URL('../../../fixtures/next', import.meta.url));

/** One Next.js for all systems: it compiles its pages when they are first visited. */
let prepared;
async function prepare() {
  const app = next({ dev: true, dir: ROOT });
  await app.prepare();
  return app.getRequestHandler();
}

/** Next.js's custom server: the app's session is `req.session` in getServerSideProps and in API routes. */
export default async function nextRow(trial) {
  prepared ??= prepare();
  const handle = await prepared;
  const app = trial.app();
  app.use((ctx) => {
    ctx.respond = false;
    ctx.res.statusCode = 200;
    ctx.req.session = ctx.session;
    return handle(ctx.req, ctx.res);
  });

  const visitor = await trial.visit(app);
  const patience = () => ({ signal: AbortSignal.timeout(120_000) });
  const visits = [];
  for (let i = 0; i < 3; i++) {
    const page = await visitor.get('/', patience());
    expect(page.status, page.body.slice(0, 500)).to.equal(200);
    visits.push(/visit (\d)/.exec(page.body.replaceAll('<!-- -->', ''))?.[1]);
  }
  expect(visits, 'what pages counted').to.deep.equal(['1', '2', '3']);
  const api = await visitor.post('/api/count', { json: {}, ...patience() });
  expect([api.status, api.body]).to.deep.equal([200, '{"count":4}']);
  expect((await visitor.get('/', patience())).body.replaceAll('<!-- -->', '')).to.contain('visit 5');
}
