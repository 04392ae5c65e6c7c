import { ApolloServer } from '@apollo/server';
import { koaMiddleware } from '@as-integrations/koa';
import bodyParser from 'koa-bodyparser';
import { resolvers, typeDefs, visitGraphql } from './graphql.js';

export default async function apollo(trial) {
  const server = new ApolloServer({ typeDefs, resolvers });
  await server.start();
  trial.defer(() => server.stop());
  const app = trial.app();
  app.use(bodyParser());
  app.use(koaMiddleware(server, { context: async ({ ctx }) => ({ session: ctx.session }) }));
  await visitGraphql(await trial.visit(app), '/');
}
