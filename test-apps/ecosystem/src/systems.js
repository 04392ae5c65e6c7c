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
 * @property {(app: Koa, options?: { name?: string, classInstances?: 'json' }) => Koa.Middleware} session
 * @property {(sessions: Koa.Middleware, app: Koa, request: IncomingMessage) => Promise<object>} open
 *   the session of a request that doesn't come through the app, such as a WebSocket's
 * @property {() => Promise<void>} close
 */

export const SYSTEM_IDS = ['files', 'cookies', 'redis', 'koa-session'];

/** @returns {Promise<System>} */
export function openSystem(id) {
  return { files: openFiles, cookies: openCookies, redis: openRedis, 'koa-session': openKoaSession }[id]();
}

async function openFiles() {
  const directory = await mkdtemp(join(tmpdir(), 'ecosystem-'));
  const store = new FsStore({ directory });
  return ours('files', store, () => rm(directory, { recursive: true, force: true }));
}

async function openCookies() {
  return ours('cookies', new CookieStore('a secret of sixteen or more characters'), async () => undefined);
}

async function openRedis() {
  const server = await startRedis();
  const client = new Redis(server.port);
  return ours('redis', new RedisStore(client), async () => {
    client.disconnect();
    await server.stop();
  });
}

function ours(id, store, close) {
  return {
    id,
    isOurs: true,
    session: (_app, options) => session(store, options),
    open: (sessions, app, request) => sessions.open(request, { app }),
    close,
  };
}

/** The baseline, as its README says: sessions in cookies. */
async function openKoaSession() {
  return {
    id: 'koa-session',
    isOurs: false,
    session: (app, { name = 'koa.sess' } = {}) => koaSession({ key: name }, app),
    open: async (_sessions, app, request) => app.createContext(request, new ServerResponse(request)).session,
    close: async () => undefined,
  };
}

/** Listens on a random port of this machine. */
export async function listen(listener) {
  const server = createServer(listener);
  await new Promise((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve));
  return server;
}
