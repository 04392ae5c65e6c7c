import { RedisStore } from 'connect-redis';
import session from 'express-session';
import { createClient } from 'redis';
import { serveExpress } from './express.js';

export async function create({ secret, redisPort }) {
  const client = createClient({ url: `redis://127.0.0.1:${redisPort}` });
  await client.connect();
  return serveExpressSession(secret, new RedisStore({ client }));
}

/** As its README recommends: only changed sessions are saved. */
export function serveExpressSession(secret, store) {
  return serveExpress(
    session({ secret, store, resave: false, saveUninitialized: false, cookie: { maxAge: 3_600_000 } }),
  );
}
