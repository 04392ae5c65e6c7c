import util from 'node:util';
import { expect } from 'chai';
import flash from 'koa-connect-flash';
import convert from 'koa-convert';
import { visitFlash } from './visit.js';

util.isArray ??= Array.isArray; // the package calls it, and Node 23 dropped it

export default async function koaConnectFlash(trial) {
  const app = trial.app();
  app.use(convert(flash()));
  app.use((ctx) => {
    if (ctx.path === '/leave') {
      ctx.flash('info', ['saved', 'sent']);
      ctx.body = String(ctx.flash('info', 'to %s', 'ada'));
    } else if (ctx.path === '/take') ctx.body = ctx.flash('info');
    else ctx.body = { hasFlash: Boolean(ctx.session.flash), is: typeof ctx.session.flash };
  });
  await visitFlash(await trial.visit(app), expect);
}
