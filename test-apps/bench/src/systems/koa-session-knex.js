import knex from 'knex';
import createStore from 'koa-session-knex-store';
import { databaseAt } from '../postgres.js';
import { serveKoaSession } from './koa-session.js';

export function create({ secret, postgresPort }) {
  const database = knex({ client: 'pg', connection: databaseAt(postgresPort) });
  return serveKoaSession(secret, { store: createStore(database, { tablename: 'koa_session', createtable: true }) });
}
