import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import connect from 'koa-connect';
import { createServer } from 'vite';
import { count } from '../../counter.js';

const ROOT = fileURLToPath(new URL('../../../fixtures/vite', import.meta.url));

/** Vite as middleware: it responds to modules by itself, and the app renders pages on the server. */
export default async function vite(trial) {
  const dev = await createServer({
    root: ROOT,
    configFile: false,
    cacheDir: fileURLToPath(new URL('../../../node_modules/.vite', import.meta.url)),
    server: { middlewareMode: true, ws: false, watch: null },
    appType: 'custom',
    logLevel: 'error',
  });
  trial.defer(() => dev.close());
  const app = trial.app();
  app.use((ctx, next) => {
    count(ctx);
    return next();
  });
  app.use((ctx, next) => {
    ctx.status = 200; // Koa begins with 404, and Vite's middleware leaves the status alone
    return next();
  });
  app.use(connect(dev.middlewares));
  app.use(async (ctx) => {
    const { render } = await dev.ssrLoadModule('/page.js');
    ctx.type = 'html';
    ctx.body = await dev.transformIndexHtml(ctx.url, render(ctx.session));
  });

  const visitor = await trial.visit(app);
  expect((await visitor.get('/')).body).to.contain('<p>visit 1</p>');
  const module = await visitor.get('/client.js');
  expect([module.status, module.body.includes('export const')]).to.deep.equal([200, true]);
  expect((await visitor.get('/')).body, 'the page after a module').to.contain('<p>visit 3</p>');
}
