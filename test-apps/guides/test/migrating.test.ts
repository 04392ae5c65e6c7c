import type { RequestListener } from 'node:http';
import { createRequire } from 'node:module';
import { expect } from 'chai';
import { fromExpressSession } from 'guides/from-express-session';
import { fromKoaGenericSession } from 'guides/from-koa-generic-session';
import { fromKoaSession } from 'guides/from-koa-session';
import Koa from 'koa';
import { type Migrate, type Sessions, session } from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import { restore, useFakeTimers } from 'sinon';
import { Client, describeWith, type RedisServer, type Served, serve, startRedis } from 'testkit';

declare module 'koa-wsession' {
  interface SessionData {
    user?: string;
    visits?: number;
  }
}

// Not imported: koa-session and the others declare a `ctx.session` of their own.
const require = createRequire(import.meta.url);
const { createSession } = require('koa-session');
const genericSession = require('koa-generic-session');
const createKoaRedis = require('koa-redis');
const express = require('express');
const expressSession = require('express-session');
const { RedisStore: ConnectRedis } = require('connect-redis');
const { createClient } = require('redis');

const SECRET = 'what the old app signed with';
const HOUR = 3_600_000;
const DAY = 24 * HOUR;

interface Old {
  /** The app as it was: `/login` logs ada in, `/logout` out. */
  readonly app: RequestListener;
  readonly migrate: Migrate;
  readonly close?: () => unknown;
}

/** The handler of the old apps on Koa. */
function oldHandler(ctx: Koa.Context): void {
  if (ctx.path === '/login') ctx.session.user = 'ada';
  const { cookie } = ctx.session as { cookie?: { maxAge: number | null } }; // koa-generic-session's
  if (ctx.query.maxAge && cookie) cookie.maxAge = toMaxAge(ctx.query) ?? null;
  else if (ctx.query.maxAge) ctx.session.maxAge = toMaxAge(ctx.query) ?? 'session';
  if (ctx.path === '/logout') ctx.session = null;
  ctx.body = ctx.session?.user ?? 'nobody';
}

/** Milliseconds, or `undefined` for a session that ends with the browser. */
function toMaxAge({ maxAge }: { maxAge?: unknown }): number | undefined {
  return Number(maxAge) || undefined;
}

function oldKoa(use: (app: Koa) => Koa.Middleware): RequestListener {
  const app = new Koa();
  app.keys = [SECRET];
  app.use(use(app)).use(oldHandler);
  return app.callback();
}

interface ExpressRequest {
  readonly path: string;
  readonly query: { maxAge?: string };
  readonly session: { user?: string; cookie: { maxAge: number | null } };
}

const OLD: Record<string, (redis: RedisServer) => Old | Promise<Old>> = {
  'koa-session, in its cookie': () => ({
    app: oldKoa((app) => createSession({ maxAge: HOUR }, app)),
    migrate: fromKoaSession({ maxAge: HOUR }),
  }),
  "koa-session, in its cookie, with maxAge: 'session'": () => ({
    app: oldKoa((app) => createSession({ maxAge: 'session' }, app)),
    migrate: fromKoaSession({ maxAge: 'session' }),
  }),
  'koa-session, under its former name koa:sess, in its cookie': () => ({
    app: oldKoa((app) => createSession({ maxAge: HOUR, key: 'koa:sess' }, app)),
    migrate: fromKoaSession({ key: 'koa:sess', maxAge: HOUR }),
  }),
  'koa-session with koa-redis': ({ port }) => {
    const store = createKoaRedis({ port });
    return {
      app: oldKoa((app) => createSession({ maxAge: HOUR, store }, app)),
      migrate: fromKoaSession({ store, maxAge: HOUR }),
      close: () => store.client.disconnect(),
    };
  },
  'koa-session with a ContextStore': () => {
    const records = new Map<string, unknown>();
    class ContextStore {
      async get(key: string) {
        return records.get(key);
      }
      async set(key: string, record: unknown) {
        records.set(key, record);
      }
      async destroy(key: string) {
        records.delete(key);
      }
    }
    return {
      app: oldKoa((app) => createSession({ maxAge: HOUR, ContextStore }, app)),
      migrate: fromKoaSession({ maxAge: HOUR, ContextStore }),
    };
  },
  'koa-session with encode and decode, in its cookie': () => {
    const encode = (content: unknown) => encodeURIComponent(JSON.stringify(content));
    const decode = (value: string) => JSON.parse(decodeURIComponent(value));
    return {
      app: oldKoa((app) => createSession({ maxAge: HOUR, encode, decode }, app)),
      migrate: fromKoaSession({ maxAge: HOUR, decode }),
    };
  },
  'koa-generic-session with koa-redis': ({ port }) => {
    const store = createKoaRedis({ port });
    return {
      app: oldKoa(() => genericSession({ store })),
      migrate: fromKoaGenericSession({ store }),
      close: () => store.client.disconnect(),
    };
  },
  'express-session with connect-redis': async ({ port }) => {
    const client = createClient({ socket: { port } });
    await client.connect();
    const app = express();
    const store = new ConnectRedis({ client });
    const cookie = { maxAge: HOUR };
    app.use(expressSession({ secret: SECRET, store, cookie, resave: false, saveUninitialized: false }));
    app.get('/logout', (request: { session: { destroy(then: () => void): void } }, response: { end(): void }) =>
      request.session.destroy(() => response.end()),
    );
    app.get('/{*path}', (request: ExpressRequest, response: { send(text: string): void }) => {
      if (request.path === '/login') request.session.user = 'ada';
      if (request.query.maxAge) request.session.cookie.maxAge = toMaxAge(request.query) ?? null;
      response.send(request.session.user ?? 'nobody');
    });
    return {
      app,
      migrate: fromExpressSession({ store, cookie, secret: ['a new secret', SECRET] }),
      close: () => client.close(),
    };
  },
};

/** Cookies that can be made without the secret. */
function* forgeries(value: string): Generator<string> {
  yield* ['', '%', '%E0%A4%A', 's:', 's%3A', 's%3Aabc.', 'e30=', '"', 'null', '__proto__', 'a'.repeat(3000)];
  yield value.slice(0, -1);
  yield `${value}a`;
  for (let at = 0; at < value.length; at += 3)
    yield value.slice(0, at) + (value[at] === 'A' ? 'B' : 'A') + value.slice(at + 1);
}

describeWith(['redis-server'], 'migrating', () => {
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.stop());

  for (const [name, create] of Object.entries(OLD)) {
    describe(`from ${name}`, () => {
      let old: Old;
      let before: Served;
      let after: Served;
      let calls: number;
      let logsIn: boolean;
      let sessions: Sessions;
      let errors: unknown[];

      beforeEach(async () => {
        old = await create(redis);
        before = await serve(old.app);
        calls = 0;
        errors = [];
        const app = new Koa();
        app.keys = ['a new secret', SECRET];
        app.on('error', (error) => errors.push(error));
        logsIn = false;
        const migrate = Object.assign(async (ctx: Koa.Context) => {
          calls++;
          const content = await old.migrate(ctx);
          if (logsIn && content?.user) await sessions.of(ctx).logIn(content.user);
          return content;
        }, old.migrate);
        sessions = session(new MemoryStore(), { migrate });
        app.use(sessions);
        app.use((ctx) => {
          if (ctx.path === '/max-age') {
            ctx.body = { maxAge: ctx.session.maxAge };
            return;
          }
          ctx.session.visits = (ctx.session.visits ?? 0) + 1;
          ctx.body = { ...ctx.session };
        });
        after = await serve(app);
      });
      afterEach(async () => {
        restore();
        await Promise.all([before.close(), after.close()]);
        await old.close?.();
      });

      /** A visitor of the old app, logged in. */
      const login = async (query = '') => {
        const ada = new Client(before);
        await ada.get(`/login${query}`);
        expect((await ada.get('/')).body).to.equal('ada');
        return ada;
      };
      /** The same cookies, sent to the new app. */
      const visit = ({ jar }: Client) => {
        const visitor = new Client(after);
        for (const [cookie, value] of jar) visitor.jar.set(cookie, value);
        return visitor;
      };

      it('keeps a visitor logged in, deletes the old cookie, and reads the old session once', async () => {
        const ada = visit(await login());
        expect((await ada.get('/')).json()).to.deep.equal({ user: 'ada', visits: 1 });
        expect([...ada.jar.keys()]).to.deep.equal(['wsession']);
        expect((await ada.get('/')).json()).to.deep.equal({ user: 'ada', visits: 2 });
        expect(calls).to.equal(1);
        expect(errors).to.deep.equal([]);
      });

      it('leaves the lifetime to the new app, and keeps one that the old app assigned', async () => {
        const usual = name.includes("'session'") ? { maxAge: 'session' } : {};
        // express-session computes the one assigned by the clock: some milliseconds may be missing.
        const inMinutes = (key: string, value: unknown) =>
          key === 'maxAge' && typeof value === 'number' ? Math.ceil(value / 60_000) * 60_000 : value;
        const maxAgeOf = async (query: string) =>
          JSON.parse((await visit(await login(query)).get('/max-age')).body, inMinutes);
        expect(await maxAgeOf('')).to.deep.equal(usual);
        expect(await maxAgeOf(`?maxAge=${30 * DAY}`)).to.deep.equal({ maxAge: 30 * DAY });
        expect(await maxAgeOf(`?maxAge=${500 * DAY}`), 'browsers keep no cookie longer').to.deep.equal({
          maxAge: 400 * DAY,
        });
        // koa-redis takes no such session of koa-session's.
        if (name !== 'koa-session with koa-redis')
          expect(await maxAgeOf('?maxAge=browser')).to.deep.equal({ maxAge: 'session' });
        expect(errors).to.deep.equal([]);
      });

      it('keeps several requests at once logged in, and the next one', async () => {
        const ada = visit(await login());
        const answers = await Promise.all(Array.from({ length: 5 }, () => ada.get('/')));
        expect(answers.map((answer) => answer.json().user)).to.deep.equal(Array(5).fill('ada'));
        expect((await ada.get('/')).json().user).to.equal('ada');
        expect(calls).to.equal(5);
      });

      it('may log the visitor in, so that the session can be listed and revoked', async () => {
        logsIn = true;
        const ada = visit(await login());
        expect((await ada.get('/')).json()).to.deep.equal({ user: 'ada', visits: 1 });
        expect(await sessions.list('ada')).to.have.length(1);
      });

      it('ignores a forged cookie', async () => {
        const { jar } = await login();
        for (const [cookie, value] of jar) {
          for (const forged of forgeries(value)) {
            const visitor = visit({ jar } as Client);
            visitor.jar.set(cookie, forged);
            const { status, body } = await visitor.get('/');
            expect([status, body], `${cookie}=${forged}`).to.deep.equal([200, '{"visits":1}']);
          }
        }
        expect(errors).to.deep.equal([]);
      });

      if (!name.includes('in its cookie'))
        it('ignores a session that was destroyed in the old app', async () => {
          const ada = await login();
          const visitor = visit(ada);
          await ada.get('/logout');
          expect((await visitor.get('/')).json()).to.deep.equal({ visits: 1 });
        });

      if (/^(koa|express)-session/.test(name) && !name.includes("'session'"))
        it('ignores a session that has expired', async () => {
          const visitor = visit(await login());
          useFakeTimers({ now: Date.now() + HOUR + 1, toFake: ['Date'] });
          expect((await visitor.get('/')).json()).to.deep.equal({ visits: 1 });
        });
    });
  }
});

describe('migrating sessions whose key is in a header', () => {
  const records = new Map<string, unknown>();
  const externalKey = { get: (ctx: Koa.Context) => ctx.get('x-token') || undefined, set: () => undefined };
  const store = { get: async (key: string) => records.get(key), set: async () => undefined };

  it('from koa-session with an externalKey', async () => {
    records.set('token of ada', { user: 'ada', _expire: Date.now() + HOUR, _maxAge: DAY });
    await expectAda(fromKoaSession({ store, externalKey }));
  });

  it('from koa-generic-session with a sessionIdStore', async () => {
    records.set('koa:sess:token of ada', { user: 'ada', cookie: { maxAge: DAY } });
    const sessionIdStore = {
      get(this: Koa.Context) {
        return externalKey.get(this);
      },
    };
    await expectAda(fromKoaGenericSession({ store, sessionIdStore }));
  });

  async function expectAda(migrate: Migrate): Promise<void> {
    const app = new Koa();
    app.use(session(new MemoryStore(), { migrate }));
    app.use((ctx) => {
      ctx.body = ctx.session.user ?? 'nobody';
    });
    const served = await serve(app);
    try {
      const visitor = new Client(served);
      expect((await visitor.get('/')).body).to.equal('nobody');
      expect((await visitor.get('/', { headers: { 'x-token': 'forged' } })).body).to.equal('nobody');
      expect((await visitor.get('/', { headers: { 'x-token': 'token of ada' } })).body).to.equal('ada');
      expect((await visitor.get('/')).body, 'in its new cookie').to.equal('ada');
    } finally {
      await served.close();
    }
  }
});
