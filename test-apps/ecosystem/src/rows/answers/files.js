import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import send from 'koa-send';
import serve from 'koa-static';
import { count } from '../../counter.js';

const ROOT = fileURLToPath(new URL('../../../fixtures/public', import.meta.url));
const SERVERS = { 'koa-static': serve(ROOT), 'koa-send': (ctx) => send(ctx, ctx.path, { root: ROOT }) };

/** A file is served after the session changed; one that is served ahead of any use of it costs no cookie. */
export default async function files(trial, name) {
  const app = trial.app();
  app.use((ctx, next) => {
    if (ctx.path === '/count') ctx.body = String(ctx.session.count ?? 0);
    else return next();
  });
  app.use((ctx, next) => {
    if (ctx.query.count) count(ctx);
    return next();
  });
  app.use(SERVERS[name]);
  const visitor = await trial.visit(app);

  const plain = await visitor.get('/hello.txt');
  expect([plain.status, plain.body, plain.setCookie, plain.headers.vary]).to.deep.equal([
    200,
    'hello\n',
    [],
    undefined,
  ]);
  for (const expected of ['1', '2']) {
    const { status, body } = await visitor.get('/hello.txt?count=1');
    expect([status, body]).to.deep.equal([200, 'hello\n']);
    expect((await visitor.get('/count')).body).to.equal(expected);
  }
  expect((await visitor.get('/nothing.txt?count=1')).status).to.equal(404);
  expect((await visitor.get('/count')).body, 'the count after a 404').to.equal('3');
}
