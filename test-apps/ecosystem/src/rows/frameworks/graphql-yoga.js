import { createSchema, createYoga } from 'graphql-yoga';
import { resolvers, typeDefs, visitGraphql } from './graphql.js';

export default async function graphqlYoga(trial) {
  const yoga = createYoga({ schema: createSchema({ typeDefs, resolvers }), logging: false });
  const app = trial.app();
  app.use(async (ctx) => {
    const response = await yoga.handleNodeRequestAndResponse(ctx.req, ctx.res, ctx);
    ctx.status = response.status;
    for (const [name, value] of response.headers) ctx.append(name, value);
    ctx.body = response.body;
  });
  await visitGraphql(await trial.visit(app), '/graphql');
}
