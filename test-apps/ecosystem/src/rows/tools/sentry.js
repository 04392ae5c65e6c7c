import { createRequire } from 'node:module';
import { setTimeout as delay } from 'node:timers/promises';
import * as Sentry from '@sentry/node';
import { expect } from 'chai';
import { count } from '../../counter.js';

const require = createRequire(import.meta.url);

/**
 * Several visitors at once, each with an error: its event has the user and the session of its own request, though the
 * session was loaded and stored in between. What the failing handlers changed is there on the next visit.
 */
export default async function sentry(trial) {
  const events = [];
  Sentry.init({
    dsn: 'https://key@sentry.example/1',
    transport: () => ({ send: async () => ({}), flush: async () => true }),
    beforeSend: (event) => {
      events.push(event);
      return null;
    },
  });
  trial.defer(() => Sentry.close());
  require('koa');

  const app = trial.bareApp();
  Sentry.setupKoaErrorHandler(app);
  app.use(trial.session(app));
  app.use(async (ctx) => {
    if (ctx.path === '/login') ctx.session.user = ctx.query.user;
    count(ctx);
    if (trial.isOurs) await ctx.session.save();
    else await delay(1);
    Sentry.setUser({ id: ctx.session.user });
    Sentry.setContext('session', ctx.session);
    if (ctx.path === '/fail') throw new Error(`failed for ${ctx.session.user}`);
    ctx.body = String(ctx.session.count);
  });
  const server = await trial.serve(app);
  const users = ['ada', 'bob', 'eve', 'joe'];
  const visitors = users.map(() => trial.visitor(server));
  await Promise.all(visitors.map((visitor, i) => visitor.get(`/login?user=${users[i]}`)));
  await Promise.all(visitors.map((visitor) => visitor.get('/fail')));
  await Sentry.flush();

  const seen = events.map(({ exception, user, contexts }) => [exception.values[0].value, user.id, contexts.session]);
  expect(seen, 'what was reported').to.have.deep.members(
    users.map((user) => [`failed for ${user}`, user, { user, count: 2 }]),
  );
  for (const visitor of visitors) expect((await visitor.get('/')).body, 'the count after an error').to.equal('3');
}
