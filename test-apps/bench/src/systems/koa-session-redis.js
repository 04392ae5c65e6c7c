import redisStore from 'koa-redis';
import { serveKoaSession } from './koa-session.js';

export function create({ secret, redisPort }) {
  return serveKoaSession(secret, { store: redisStore({ host: '127.0.0.1', port: redisPort }) });
}
