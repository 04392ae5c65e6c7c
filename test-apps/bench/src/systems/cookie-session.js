import session from 'cookie-session';
import { serveExpress } from './express.js';

/** In the cookie, signed, not encrypted. */
export function create({ secret }) {
  return serveExpress(session({ keys: [secret], maxAge: 3_600_000 }));
}
