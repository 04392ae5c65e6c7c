import connect from 'koa-connect';
import { visitCounter } from '../../counter.js';

/** An Express handler that responds by itself, and never calls `next`. */
export default async function koaConnectAnswer(trial) {
  const app = trial.app();
  app.use((ctx, next) => {
    ctx.req.session = ctx.session;
    return next();
  });
  app.use(
    connect((req, res, _next) => {
      req.session.count = (req.session.count ?? 0) + 1;
      res.writeHead(200, { 'Content-Type': 'text/plain' });
      res.write(String(req.session.count));
      res.end();
    }),
  );
  await visitCounter(await trial.visit(app));
}
