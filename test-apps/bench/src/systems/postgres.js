import { PostgresStore } from '@koa-wsession/store-postgres';
import { session } from 'koa-wsession';
import pg from 'pg';
import { databaseAt } from '../postgres.js';
import { serve } from './koa.js';

export function create({ postgresPort }) {
  return servePostgresStore(new pg.Pool(databaseAt(postgresPort)));
}

export async function servePostgresStore(client) {
  const store = new PostgresStore(client);
  await store.migrate();
  return serve([session(store)]);
}
