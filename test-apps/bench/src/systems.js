/**
 * @typedef {object} System
 * @property {string} id the name of its file in `systems/`
 * @property {string} label
 * @property {'cookie' | 'redis' | 'postgres' | 'file' | 'memory' | 'bare'} kind where its sessions are kept
 * @property {'ours' | 'floor' | 'peer'} role `floor`: the least that any session in such a place costs
 * @property {boolean} [trial] refuses to run in production
 * @property {boolean} [caches] sessions in its process
 */

/** @type {System[]} */
export const SYSTEMS = [
  { id: 'cookie', label: 'koa-wsession, CookieStore', kind: 'cookie', role: 'ours' },
  { id: 'floor-cookie', label: 'the least for a cookie', kind: 'cookie', role: 'floor' },
  { id: 'koa-session', label: 'koa-session', kind: 'cookie', role: 'peer' },
  { id: 'cookie-session', label: 'cookie-session (Express)', kind: 'cookie', role: 'peer' },
  { id: 'iron-session', label: 'iron-session (on Koa)', kind: 'cookie', role: 'peer' },
  {
    id: 'fastify-secure-session',
    label: '@fastify/secure-session (native sodium)',
    kind: 'cookie',
    role: 'peer',
  },

  { id: 'redis', label: 'koa-wsession, RedisStore', kind: 'redis', role: 'ours' },
  { id: 'redis-near-cache', label: 'koa-wsession, RedisStore, near cache', kind: 'redis', role: 'ours', caches: true },
  { id: 'floor-redis', label: 'the least for Redis', kind: 'redis', role: 'floor' },
  { id: 'koa-session-redis', label: 'koa-session + koa-redis', kind: 'redis', role: 'peer' },
  { id: 'koa-generic-session', label: 'koa-generic-session + koa-redis', kind: 'redis', role: 'peer' },
  { id: 'express-session-redis', label: 'express-session + connect-redis', kind: 'redis', role: 'peer' },

  { id: 'postgres', label: 'koa-wsession, PostgresStore (pg)', kind: 'postgres', role: 'ours' },
  { id: 'postgres-js', label: 'koa-wsession, PostgresStore (postgres)', kind: 'postgres', role: 'ours' },
  { id: 'floor-postgres', label: 'the least for Postgres (pg)', kind: 'postgres', role: 'floor' },
  { id: 'koa-session-knex', label: 'koa-session + koa-session-knex-store', kind: 'postgres', role: 'peer' },
  { id: 'express-session-pg', label: 'express-session + connect-pg-simple', kind: 'postgres', role: 'peer' },

  { id: 'fs', label: 'koa-wsession, FsStore', kind: 'file', role: 'ours' },
  { id: 'floor-file', label: 'the least for files', kind: 'file', role: 'floor' },
  {
    id: 'session-file-store',
    label: 'express-session + session-file-store',
    kind: 'file',
    role: 'peer',
  },

  { id: 'memory', label: 'koa-wsession, MemoryStore', kind: 'memory', role: 'ours', trial: true },
  { id: 'koa-session-minimal', label: 'koa-session-minimal', kind: 'memory', role: 'peer' },

  { id: 'express', label: 'Express without sessions', kind: 'bare', role: 'peer' },
  { id: 'fastify', label: 'Fastify without sessions', kind: 'bare', role: 'peer' },
];

/** What everything is compared with. */
export const REFERENCE = { id: 'koa', label: 'Koa without sessions', kind: 'bare', role: 'floor' };

/** Whether a system can do a work: no browser keeps a cookie of 100 KB. */
export function can(system, work) {
  if (system.kind === 'bare') return work.before === 'none';
  return !(system.kind === 'cookie' && work.before === '/fill-big');
}
