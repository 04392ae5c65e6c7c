import { fileURLToPath } from 'node:url';
import render from '@koa/ejs';
import { visitTemplates } from './visit.js';

const VIEWS = fileURLToPath(new URL('../../../fixtures/views', import.meta.url));

export default function ejs(trial) {
  return visitTemplates(
    trial,
    async (ctx, locals) => {
      await ctx.render('page', locals);
      return ctx.body;
    },
    (app) => render(app, { root: VIEWS, layout: false, viewExt: 'ejs' }),
  );
}
