import bodyParser from 'koa-bodyparser';
import convert from 'koa-convert';
import lusca from 'koa-lusca';
import { visitCsrf } from './visit.js';

export default async function koaLusca(trial) {
  const app = trial.app();
  app.use(bodyParser());
  app.use(convert(lusca.csrf()));
  app.use((ctx) => {
    ctx.body = ctx.path === '/token' ? ctx.state._csrf : 'done';
  });
  await visitCsrf(trial, app);
}
