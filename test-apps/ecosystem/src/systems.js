import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CookieStore } from '@koa-wsession/store-cookie';
import { FsStore } from '@koa-wsession/store-fs';
import { RedisStore } from '@koa-wsession/store-redis';
import { Redis } from 'ioredis';
import koaSession from 'koa-session';
import { session } from 'koa-wsession';
import { startRedis } from 'testkit/redis';

/**
 * What a row runs on.
 * @typedef {object} System
 * @property {string} id
 * @property {boolean} isOurs
 * @property {Record<string, string>} env how a process of its own gets the same sessions: see fixtures/runners
 * @property {(app: Koa, options?: { name?: string, classInstances?: 'json', connect?: Function }) => Koa.Middleware} session
 *   `connect` makes the client where sessions are in Redis: `(port) => client`
 * @property {(sessions: Koa.Middleware, app: Koa, request: IncomingMessage) => Promise<object>} open
 *   the session of a request that doesn't come through the app, such as a WebSocket's
 * @property {() => Promise<void>} close
 */

const SYSTEMS = {
  files: openFiles,
  cookies: openCookies,
  redis: openRedis,
  'koa-session': () => openKoaSession('koa-session'),
  'koa-session-store': openKoaSessionStore,
};

export const SYSTEM_IDS = Object.keys(SYSTEMS);

/** @returns {Promise<System>} */
export function openSystem(id) {
  return SYSTEMS[id]();
}

async function openFiles() {
  const directory = await mkdtemp(join(tmpdir(), 'ecosystem-'));
  const store = new FsStore({ directory });
  const close = () => rm(directory, { recursive: true, force: true });
  return { ...ours('files', () => store, close), env: { SYSTEM: 'files', DIRECTORY: directory } };
}

async function openCookies() {
  const store = new CookieStore('a secret of sixteen or more characters');
  return ours(
    'cookies',
    () => store,
    async () => undefined,
  );
}

async function openRedis() {
  const server = await startRedis();
  const clients = [];
  const storeOf = (connect) => {
    clients.push(connect(server.port));
    return new RedisStore(clients.at(-1));
  };
  const store = storeOf((port) => new Redis(port));
  const close = async () => {
    for (const client of clients) client.disconnect();
    await server.stop();
  };
  const system = ours('redis', (connect) => (connect ? storeOf(connect) : store), close);
  return { ...system, env: { SYSTEM: 'redis', REDIS_PORT: String(server.port) } };
}

function ours(id, storeOf, close) {
  return {
    id,
    isOurs: true,
    env: { SYSTEM: id },
    session: (_app, { connect, ...options } = {}) => session(storeOf(connect), options),
    open: (sessions, app, request) => sessions.open(request, { app }),
    close,
  };
}

/** The baseline, as its README says: sessions in cookies, or in a store of one's own. */
async function openKoaSession(id, options = {}) {
  return {
    id,
    isOurs: false,
    env: { SYSTEM: id },
    session: (app, { name = 'koa.sess' } = {}) => koaSession({ ...options, key: name }, app),
    open: async (_sessions, app, request) => app.createContext(request, new ServerResponse(request)).session,
    close: async () => undefined,
  };
}

function openKoaSessionStore() {
  const records = new Map();
  const store = {
    get: async (key) => JSON.parse(records.get(key) ?? 'null'),
    set: async (key, record) => records.set(key, JSON.stringify(record)),
    destroy: async (key) => records.delete(key),
  };
  return openKoaSession('koa-session-store', { store });
}

/** Listens on a random port of this machine. */
export async function listen(listener) {
  const server = createServer(listener);
  await new Promise((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve));
  return server;
}
