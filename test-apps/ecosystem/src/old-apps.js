import cookieSession from 'cookie-session';
import expressSession from 'express-session';
import { getIronSession, unsealData } from 'iron-session';
import Koa from 'koa';
import genericSession from 'koa-generic-session';
import koaSession from 'koa-session';

const guide = (name) => import(new URL(`../../guides/dist/from-${name}.js`, import.meta.url));
const { fromCookieSession } = await guide('cookie-session');
const { fromExpressSession } = await guide('express-session');
const { fromIronSession } = await guide('iron-session');
const { fromKoaGenericSession } = await guide('koa-generic-session');
const { fromKoaSession } = await guide('koa-session');

export const SECRET = 'a secret of the old app, of more than thirty-two characters';

/** What koa-session and koa-generic-session take as a store. */
function mapStore() {
  const records = new Map();
  return {
    get: async (key) => JSON.parse(records.get(key) ?? 'null'),
    set: async (key, record) => void records.set(key, JSON.stringify(record)),
    destroy: async (key) => void records.delete(key),
  };
}

/**
 * Each makes `{ listener, migrate }`: an app with sessions of the package, whose handler gets what the package's README
 * calls them (`ctx`, or `req`, or `session` and `options`) and returns the body; and the guide's function for its sessions.
 */
export const OLD_APPS = {
  'koa-session': (handler) => {
    const store = mapStore();
    return { listener: onKoa((app) => koaSession({ store }, app), handler), migrate: fromKoaSession({ store }) };
  },
  'koa-session, in its cookie, as koa:sess': (handler) => ({
    listener: onKoa((app) => koaSession({ key: 'koa:sess' }, app), handler),
    migrate: fromKoaSession({ key: 'koa:sess' }),
  }),
  'koa-generic-session': (handler) => {
    const store = mapStore();
    return { listener: onKoa(() => genericSession({ store }), handler), migrate: fromKoaGenericSession({ store }) };
  },
  'express-session': (handler) => {
    const store = new expressSession.MemoryStore();
    const middleware = expressSession({ store, secret: SECRET, resave: false, saveUninitialized: false });
    return { listener: onNode(middleware, handler), migrate: fromExpressSession({ store, secret: SECRET }) };
  },
  'iron-session': (handler) => {
    const options = { cookieName: 'iron', password: SECRET, cookieOptions: { secure: false } };
    const unseal = (seal) => unsealData(seal, { password: SECRET });
    return {
      listener: onKoa(undefined, async ({ ctx }) =>
        handler({ ctx, options, session: await getIronSession(ctx.req, ctx.res, options) }),
      ),
      migrate: fromIronSession('iron', unseal),
    };
  },
  'cookie-session': (handler) => ({
    listener: onNode(cookieSession({ keys: [SECRET] }), handler),
    migrate: fromCookieSession(),
  }),
};

function onKoa(makeMiddleware, handler) {
  const app = new Koa();
  app.keys = [SECRET];
  if (makeMiddleware) app.use(makeMiddleware(app));
  app.use(async (ctx) => {
    ctx.body = await handler({ ctx });
  });
  return app.callback();
}

/** Middleware of Express, on Node's own server. */
function onNode(middleware, handler) {
  return (req, res) => middleware(req, res, async () => res.end(JSON.stringify(await handler({ req, res }))));
}
