import util from 'node:util';
import { expect } from 'chai';
import flash from 'connect-flash';
import connect from 'koa-connect';
import { visitFlash } from './visit.js';

util.isArray ??= Array.isArray; // connect-flash calls it, and Node 23 dropped it

export default async function connectFlash(trial) {
  const app = trial.app();
  app.use((ctx, next) => {
    ctx.req.session = ctx.session;
    return next();
  });
  app.use(connect(flash()));
  app.use((ctx) => {
    if (ctx.path === '/leave') {
      ctx.req.flash('info', ['saved', 'sent']);
      ctx.body = String(ctx.req.flash('info', 'to %s', 'ada'));
    } else if (ctx.path === '/take') ctx.body = ctx.req.flash('info');
    else ctx.body = { hasFlash: Boolean(ctx.session.flash), is: typeof ctx.session.flash };
  });
  await visitFlash(await trial.visit(app), expect);
}
