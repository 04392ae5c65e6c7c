import { expect } from 'chai';
import ratelimit from 'koa-ratelimit';

/** The limit is the session's user's; what the session counted before a 429 is stored. */
export default async function koaRatelimit(trial) {
  const app = trial.app();
  app.use((ctx, next) => {
    if (ctx.path === '/login') ctx.session.user = ctx.query.name;
    if (ctx.path !== '/') {
      ctx.body = { tries: ctx.session.tries ?? 0 };
      return;
    }
    ctx.session.tries = (ctx.session.tries ?? 0) + 1;
    return next();
  });
  app.use(ratelimit({ driver: 'memory', db: new Map(), duration: 60_000, max: 2, id: (ctx) => ctx.session.user }));
  app.use((ctx) => {
    ctx.body = 'page';
  });
  const server = await trial.serve(app);
  const [ada, bob] = [trial.visitor(server), trial.visitor(server)];
  await ada.get('/login?name=ada');
  await bob.get('/login?name=bob');
  const statuses = [];
  for (const visitor of [ada, ada, ada, ada, bob]) statuses.push((await visitor.get('/')).status);
  expect(statuses).to.deep.equal([200, 200, 429, 429, 200]);
  expect(await ada.json('/tries')).to.deep.equal({ tries: 4 });
}
