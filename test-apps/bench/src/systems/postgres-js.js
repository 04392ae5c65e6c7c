import postgres from 'postgres';
import { databaseAt } from '../postgres.js';
import { servePostgresStore } from './postgres.js';

export function create({ postgresPort }) {
  return servePostgresStore(postgres(databaseAt(postgresPort)));
}
