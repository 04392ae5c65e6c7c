import { fileURLToPath } from 'node:url';
import Pug from 'koa-pug';
import { visitTemplates } from './visit.js';

const VIEWS = fileURLToPath(new URL('../../../fixtures/views', import.meta.url));

export default function pug(trial) {
  return visitTemplates(
    trial,
    async (ctx, locals) => {
      await ctx.render('page', locals);
      return ctx.body;
    },
    (app) => new Pug({ viewPath: VIEWS, app }),
  );
}
