import { expect } from 'chai';

/**
 * The page asks `if session.flash` and greets `session.user`: two keys that a session library might have taken.
 * `render` returns the page for locals.
 */
export async function visitTemplates(trial, render, prepare = () => undefined) {
  const app = trial.app();
  prepare(app);
  app.use(async (ctx) => {
    if (ctx.path === '/login') {
      ctx.session.user = { name: 'ada' };
      ctx.session.flash = ['logged in'];
      ctx.redirect('/');
    } else {
      ctx.body = await render(ctx, { session: ctx.session });
      delete ctx.session.flash;
    }
  });
  const visitor = await trial.visit(app);
  const page = async (path) => (await visitor.follow(path)).body.replaceAll(/\s+/g, ' ').trim();
  expect(await page('/')).to.equal('<p>hello nobody</p>');
  expect(await page('/login')).to.equal('<b>logged in</b><p>hello ada</p>');
  expect(await page('/')).to.equal('<p>hello ada</p>');
}
