import { createHash } from 'node:crypto';
import secureSession from '@fastify/secure-session';
import { serveFastify } from './fastify.js';

export function create({ secret }) {
  const key = createHash('sha256').update(secret).digest();
  return serveFastify(secureSession, { key, expiry: 3600, cookie: { path: '/', maxAge: 3600 } });
}
