import { csrfSync } from 'csrf-sync';
import connect from 'koa-connect';
import { visitCsrf } from './visit.js';

export default async function csrfSyncRow(trial) {
  const { csrfSynchronisedProtection } = csrfSync();
  const app = trial.app();
  app.use((ctx, next) => {
    ctx.req.session = ctx.session;
    return next();
  });
  app.use(connect(csrfSynchronisedProtection));
  app.use((ctx) => {
    ctx.body = ctx.path === '/token' ? ctx.req.csrfToken() : 'done';
  });
  await visitCsrf(trial, app);
}
