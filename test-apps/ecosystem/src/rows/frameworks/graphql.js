import { expect } from 'chai';

export const typeDefs = /* GraphQL */ `
  type Query { me: String }
  type Mutation { logIn(name: String!): String }
`;

export const resolvers = {
  Query: { me: (_parent, _args, { session }) => session.user },
  Mutation: {
    logIn: (_parent, { name }, { session }) => {
      session.user = name;
      return `welcome ${name}`;
    },
  },
};

/** Logs in by a mutation, and asks who that was by a query. */
export async function visitGraphql(visitor, path) {
  const ask = async (query) => (await visitor.post(path, { json: { query } })).json();
  expect(await ask('{ me }')).to.deep.equal({ data: { me: null } });
  expect(await ask('mutation { logIn(name: "ada") }')).to.deep.equal({ data: { logIn: 'welcome ada' } });
  expect(await ask('{ me }')).to.deep.equal({ data: { me: 'ada' } });
}
