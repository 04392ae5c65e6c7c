import { expect } from 'chai';
import jsonError from 'koa-json-error';
import { onerror } from 'koa-onerror';
import { count } from '../../counter.js';

const HANDLERS = {
  'koa-onerror': (app) => onerror(app),
  'koa-json-error': (app) => app.use(jsonError()),
};

/** The handler changes the session, then fails: the first visit's change is there on the next one. */
export default async function errors(trial, name) {
  const app = trial.bareApp();
  HANDLERS[name](app);
  app.use(trial.session(app));
  app.use((ctx) => {
    count(ctx);
    ctx.body = String(ctx.session.count);
    if (ctx.path === '/fail') ctx.throw(422, 'no such thing');
  });
  const visitor = await trial.visit(app);
  const failed = await visitor.get('/fail', { headers: { accept: 'application/json' } });
  expect(failed.status).to.equal(422);
  expect(failed.body).to.contain('no such thing');
  expect((await visitor.get('/')).body, 'the count after an error').to.equal('2');
}
