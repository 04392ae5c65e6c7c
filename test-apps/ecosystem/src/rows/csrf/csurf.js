import csurf from 'csurf';
import connect from 'koa-connect';
import { visitCsrf } from './visit.js';

export default async function csurfRow(trial) {
  const app = trial.app();
  app.use((ctx, next) => {
    ctx.req.session = ctx.session;
    return next();
  });
  app.use(connect(csurf()));
  app.use((ctx) => {
    ctx.body = ctx.path === '/token' ? ctx.req.csrfToken() : 'done';
  });
  await visitCsrf(trial, app);
}
