import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import { promisify } from 'node:util';
import secureSession from '@fastify/secure-session';
import { CookieStore } from '@koa-wsession/store-cookie';
import { FsStore } from '@koa-wsession/store-fs';
import { PostgresStore } from '@koa-wsession/store-postgres';
import { RedisStore } from '@koa-wsession/store-redis';
import createPgStore from 'connect-pg-simple';
import { RedisStore as ConnectRedis } from 'connect-redis';
import cookieSession from 'cookie-session';
import express from 'express';
import expressSession from 'express-session';
import createFastify from 'fastify';
import { Redis } from 'ioredis';
import { getIronSession } from 'iron-session';
import knex from 'knex';
import Koa from 'koa';
import genericSession from 'koa-generic-session';
import createKoaRedis from 'koa-redis';
import { createSession } from 'koa-session';
import createKnexStore from 'koa-session-knex-store';
import minimalSession from 'koa-session-minimal';
import { session } from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import { nearCache } from 'koa-wsession/near-cache';
import pg from 'pg';
import postgres from 'postgres';
import { createClient } from 'redis';
import createFileStore from 'session-file-store';
import { handle } from '../behaviour/handlers.js';
import { databaseAt } from '../postgres.js';

/**
 * The apps for `--behaviour`: each system as its README sets it up, with required options only. `of` is the system's id.
 *
 * @param {{ of: string, secret: string, redisPort: number, postgresPort: number, directory: string }} context
 */
export function create({ of, ...context }) {
  return apps[of](context);
}

const apps = {
  cookie: ({ secret }) => ours(new CookieStore(secret)),
  fs: ({ directory }) => ours(new FsStore({ directory })),
  redis: ({ redisPort }) => ours(new RedisStore(quiet(new Redis(redisPort)))),
  'redis-near-cache': ({ redisPort }) => ours(nearCache(new RedisStore(quiet(new Redis(redisPort))))),
  postgres: ({ postgresPort }) => oursInPostgres(quiet(new pg.Pool(databaseAt(postgresPort)))),
  'postgres-js': ({ postgresPort }) => oursInPostgres(postgres(databaseAt(postgresPort))),
  memory: () => ours(new MemoryStore()),

  'koa-session': ({ secret }) => onKoa((app) => createSession(app), secret),
  'koa-session-redis': ({ secret, redisPort }) =>
    onKoa((app) => createSession({ store: createKoaRedis({ port: redisPort }) }, app), secret),
  'koa-generic-session': ({ secret, redisPort }) =>
    onKoa(() => genericSession({ store: createKoaRedis({ port: redisPort }) }), secret),
  'koa-session-knex': ({ secret, postgresPort }) => {
    const database = knex({ client: 'pg', connection: databaseAt(postgresPort) });
    return onKoa((app) => createSession({ store: createKnexStore(database, { createtable: true }) }, app), secret);
  },
  'koa-session-minimal': () => onKoa(() => minimalSession()),

  'express-session-redis': async ({ secret, redisPort }) => {
    const client = quiet(createClient({ url: `redis://127.0.0.1:${redisPort}` }));
    await client.connect();
    return onExpress(
      expressSession({
        store: new ConnectRedis({ client }),
        resave: false,
        saveUninitialized: false,
        secret,
      }),
    );
  },
  'express-session-pg': ({ secret, postgresPort }) => {
    const Store = createPgStore(expressSession);
    const store = new Store({ pool: quiet(new pg.Pool(databaseAt(postgresPort))), createTableIfMissing: true });
    return onExpress(expressSession({ store, resave: false, saveUninitialized: false, secret }));
  },
  'session-file-store': ({ secret, directory }) => {
    const FileStore = createFileStore(expressSession);
    const store = new FileStore({ path: directory, logFn: () => {} });
    return onExpress(expressSession({ store, resave: false, saveUninitialized: false, secret }));
  },
  'cookie-session': ({ secret }) => onExpress(cookieSession({ keys: [secret] })),

  'iron-session': ({ secret }) => {
    const options = { password: secret, cookieName: 'iron', cookieOptions: { secure: false } };
    const app = new Koa();
    app.silent = true;
    app.use(async (ctx) => {
      const opened = ctx.path === '/untouched' ? undefined : await getIronSession(ctx.req, ctx.res, options);
      ctx.body = await handle(ctx.path, {
        session: opened,
        end: () => opened.destroy(),
        save: () => opened.save(),
      });
    });
    return createServer(app.callback());
  },

  'fastify-secure-session': async ({ secret }) => {
    const key = createHash('sha256').update(secret).digest();
    const app = createFastify();
    app.register(secureSession, { key, cookie: { path: '/' } });
    app.get('*', (request) =>
      handle(request.url, {
        get session() {
          return propertiesOf(request.session);
        },
        end: () => request.session.delete(),
      }),
    );
    await app.ready();
    return app.server;
  },
};

/** `error` events need a listener; an outage of the server shows in the responses. */
function quiet(client) {
  return client.on('error', () => {});
}

async function oursInPostgres(client) {
  const store = new PostgresStore(client);
  await store.migrate();
  return ours(store);
}

function ours(store) {
  const sessions = session(store);
  return onKoa(
    () => sessions,
    undefined,
    (ctx) => sessions.of(ctx).logOut(),
  );
}

function onKoa(
  use,
  secret,
  end = (ctx) => {
    ctx.session = null;
  },
) {
  const app = new Koa();
  app.silent = true;
  if (secret) app.keys = [secret];
  app.use(use(app));
  app.use(async (ctx) => {
    ctx.body = await handle(ctx.path, {
      get session() {
        return ctx.session;
      },
      end: () => end(ctx),
    });
  });
  return createServer(app.callback());
}

function onExpress(middleware) {
  const app = express();
  app.set('env', 'test'); // logs no errors
  app.use(middleware);
  app.use(async (request, response) => {
    const body = await handle(request.path, {
      get session() {
        return request.session;
      },
      async end() {
        if (request.session.destroy) await promisify(request.session.destroy).call(request.session);
        else request.session = null;
      },
    });
    response.send(body);
  });
  return createServer(app);
}

/** fastify-secure-session has `get` and `set`; its proxy for properties supports neither `in` nor `Object.keys`. */
function propertiesOf(secure) {
  return new Proxy(
    {},
    {
      get: (_, key) => secure.get(key),
      set: (_, key, value) => {
        secure.set(key, value);
        return true;
      },
      has: (_, key) => key in secure.data(),
      ownKeys: () => Object.keys(secure.data()),
      getOwnPropertyDescriptor: (_, key) => Object.getOwnPropertyDescriptor(secure.data(), key),
    },
  );
}
