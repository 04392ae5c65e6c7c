import session from 'express-session';
import createStore from 'session-file-store';
import { serveExpressSession } from './express-session-redis.js';

export function create({ secret, directory }) {
  const FileStore = createStore(session);
  return serveExpressSession(secret, new FileStore({ path: directory, logFn: () => {} }));
}
