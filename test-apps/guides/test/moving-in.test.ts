import type { RequestListener } from 'node:http';
import { createRequire } from 'node:module';
import { expect } from 'chai';
import { fromExpressSession } from 'guides/from-express-session';
import { fromKoaGenericSession } from 'guides/from-koa-generic-session';
import { fromKoaSession, fromKoaSessionStore } from 'guides/from-koa-session';
import { Redis } from 'ioredis';
import Koa from 'koa';
import { type Adopt, session } from 'koa-wsession';
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

interface Old {
  /** The app as it was: `/login` logs ada in, `/logout` out. */
  readonly app: RequestListener;
  readonly adopt: Adopt;
  readonly close?: () => unknown;
}

/** The handler of the old apps on Koa. */
function oldHandler(ctx: Koa.Context): void {
  if (ctx.path === '/login') ctx.session.user = 'ada';
  if (ctx.path === '/logout') ctx.session = null;
  ctx.body = ctx.session?.user ?? 'nobody';
}

function oldKoa(use: (app: Koa) => Koa.Middleware): RequestListener {
  const app = new Koa();
  app.keys = [SECRET];
  app.use(use(app)).use(oldHandler);
  return app.callback();
}

const OLD: Record<string, (redis: RedisServer) => Old | Promise<Old>> = {
  'koa-session, in its cookie': () => ({
    app: oldKoa((app) => createSession({ maxAge: HOUR }, app)),
    adopt: fromKoaSession(),
  }),
  "koa-session, in its cookie, with maxAge: 'session'": () => ({
    app: oldKoa((app) => createSession({ maxAge: 'session' }, app)),
    adopt: fromKoaSession(),
  }),
  'koa-session with koa-redis': ({ port }) => {
    const store = createKoaRedis({ port });
    return {
      app: oldKoa((app) => createSession({ maxAge: HOUR, store }, app)),
      adopt: fromKoaSessionStore(store),
      close: () => store.client.disconnect(),
    };
  },
  'koa-generic-session with koa-redis': ({ port }) => {
    const store = createKoaRedis({ port });
    return {
      app: oldKoa(() => genericSession({ store })),
      adopt: fromKoaGenericSession(store),
      close: () => store.client.disconnect(),
    };
  },
  'express-session with connect-redis': async ({ port }) => {
    const client = createClient({ socket: { port } });
    await client.connect();
    const redis = new Redis(port);
    const app = express();
    const store = new ConnectRedis({ client });
    app.use(expressSession({ secret: SECRET, store, resave: false, saveUninitialized: false }));
    app.get(
      '/logout',
      (request: { session: { destroy(then: () => void): void } }, response: { end(): void }) =>
        request.session.destroy(() => response.end()),
    );
    app.get(
      '/{*path}',
      (request: { path: string; session: { user?: string } }, response: { send(text: string): void }) => {
        if (request.path === '/login') request.session.user = 'ada';
        response.send(request.session.user ?? 'nobody');
      },
    );
    return {
      app,
      adopt: fromExpressSession(redis, SECRET),
      close: () => Promise.all([client.close(), redis.disconnect()]),
    };
  },
};

/** What can be done to a cookie without knowing the secret. */
function* forgeries(value: string): Generator<string> {
  yield* ['', '%', '%E0%A4%A', 's:', 's%3A', 's%3Aabc.', 'e30=', '"', 'null', '__proto__', 'a'.repeat(3000)];
  yield value.slice(0, -1);
  yield `${value}a`;
  for (let at = 0; at < value.length; at += 3)
    yield value.slice(0, at) + (value[at] === 'A' ? 'B' : 'A') + value.slice(at + 1);
}

describeWith(['redis-server'], 'moving in', () => {
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
      let asked: number;
      let errors: unknown[];

      beforeEach(async () => {
        old = await create(redis);
        before = await serve(old.app);
        asked = 0;
        errors = [];
        const app = new Koa();
        app.keys = ['a new secret', SECRET];
        app.on('error', (error) => errors.push(error));
        const adopt = Object.assign((ctx: Koa.Context) => {
          asked++;
          return old.adopt(ctx);
        }, old.adopt);
        app.use(session(new MemoryStore(), { adopt }));
        app.use((ctx) => {
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

      /** A visitor who was logged in before; `cookies` are those that he brings. */
      const login = async () => {
        const ada = new Client(before);
        await ada.get('/login');
        expect((await ada.get('/')).body).to.equal('ada');
        return ada;
      };
      const moveIn = ({ jar }: Client) => {
        const visitor = new Client(after);
        for (const [cookie, value] of jar) visitor.jar.set(cookie, value);
        return visitor;
      };

      it('a visitor stays logged in, loses the old cookie, and is asked about once', async () => {
        const ada = moveIn(await login());
        expect((await ada.get('/')).json()).to.deep.equal({ user: 'ada', visits: 1 });
        expect([...ada.jar.keys()]).to.deep.equal(['wsession']);
        expect((await ada.get('/')).json()).to.deep.equal({ user: 'ada', visits: 2 });
        expect(asked).to.equal(1);
        expect(errors).to.deep.equal([]);
      });

      it('several requests at once are all logged in, and so is the next', async () => {
        const ada = moveIn(await login());
        const answers = await Promise.all(Array.from({ length: 5 }, () => ada.get('/')));
        expect(answers.map((answer) => answer.json().user)).to.deep.equal(Array(5).fill('ada'));
        expect((await ada.get('/')).json().user).to.equal('ada');
        expect(asked).to.equal(5);
      });

      it('a forged cookie is nobody', async () => {
        const { jar } = await login();
        for (const [cookie, value] of jar) {
          for (const forged of forgeries(value)) {
            const visitor = moveIn({ jar } as Client);
            visitor.jar.set(cookie, forged);
            const { status, body } = await visitor.get('/');
            expect([status, body], `${cookie}=${forged}`).to.deep.equal([200, '{"visits":1}']);
          }
        }
        expect(errors).to.deep.equal([]);
      });

      if (!name.includes('in its cookie'))
        it('a session that was logged out of is over', async () => {
          const ada = await login();
          const visitor = moveIn(ada);
          await ada.get('/logout');
          expect((await visitor.get('/')).json()).to.deep.equal({ visits: 1 });
        });

      if (name.startsWith('koa-session') && !name.includes("'session'"))
        it('a session that has expired is over', async () => {
          const visitor = moveIn(await login());
          useFakeTimers({ now: Date.now() + HOUR + 1, toFake: ['Date'] });
          expect((await visitor.get('/')).json()).to.deep.equal({ visits: 1 });
        });
    });
  }
});
