import bodyParser from 'koa-bodyparser';
import CSRF from 'koa-csrf';
import { visitCsrf } from './visit.js';

export default async function koaCsrf(trial) {
  const app = trial.app();
  app.use(bodyParser());
  app.use(new CSRF());
  app.use((ctx) => {
    ctx.body = ctx.path === '/token' ? ctx.state._csrf : 'done';
  });
  await visitCsrf(trial, app);
}
