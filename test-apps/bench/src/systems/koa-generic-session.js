import session from 'koa-generic-session';
import redisStore from 'koa-redis';
import { serve } from './koa.js';

export function create({ secret, redisPort }) {
  const store = redisStore({ host: '127.0.0.1', port: redisPort });
  return serve([session({ store, cookie: { maxAge: 3_600_000 } })], { keys: [secret] });
}
