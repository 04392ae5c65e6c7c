import { initTRPC, TRPCError } from '@trpc/server';
import { nodeHTTPRequestHandler } from '@trpc/server/adapters/node-http';
import { expect } from 'chai';

/** tRPC's own handler responds, past Koa. */
export default async function trpc(trial) {
  const t = initTRPC.context().create();
  const router = t.router({
    logIn: t.procedure.mutation(({ ctx }) => {
      ctx.session.user = 'ada';
      return 'welcome';
    }),
    me: t.procedure.query(({ ctx }) => {
      if (!ctx.session.user) throw new TRPCError({ code: 'UNAUTHORIZED' });
      return ctx.session.user;
    }),
  });
  const app = trial.app();
  app.use((ctx) => {
    ctx.respond = false;
    ctx.res.statusCode = 200;
    const { req, res, session } = ctx;
    return nodeHTTPRequestHandler({ req, res, router, path: ctx.path.slice(1), createContext: () => ({ session }) });
  });

  const visitor = await trial.visit(app);
  expect((await visitor.get('/me')).status).to.equal(401);
  const login = await visitor.post('/logIn', { json: {} });
  expect(login.json()).to.deep.equal({ result: { data: 'welcome' } });
  const me = await visitor.get('/me');
  expect(me.body, 'who is logged in').to.equal('{"result":{"data":"ada"}}');
}
