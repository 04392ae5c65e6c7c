import Tokens from 'csrf';
import { visitCsrf } from './visit.js';

export default async function csrf(trial) {
  const tokens = new Tokens();
  const app = trial.app();
  app.use(async (ctx) => {
    if (ctx.path === '/token') {
      ctx.session.csrfSecret ??= await tokens.secret();
      ctx.body = tokens.create(ctx.session.csrfSecret);
      return;
    }
    const { csrfSecret } = ctx.session;
    ctx.assert(csrfSecret && tokens.verify(csrfSecret, ctx.get('x-csrf-token')), 403);
    ctx.body = 'done';
  });
  await visitCsrf(trial, app);
}
