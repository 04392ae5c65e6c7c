import createStore from 'connect-pg-simple';
import session from 'express-session';
import pg from 'pg';
import { databaseAt } from '../postgres.js';
import { serveExpressSession } from './express-session-redis.js';

export function create({ secret, postgresPort }) {
  const Store = createStore(session);
  const pool = new pg.Pool(databaseAt(postgresPort));
  return serveExpressSession(secret, new Store({ pool, createTableIfMissing: true }));
}
