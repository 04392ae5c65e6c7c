import { generateKeyPairSync, sign } from 'node:crypto';
import { expect } from 'chai';
import { restore, useFakeTimers } from 'sinon';
import { serve } from 'testkit/http';
import './setup.js';

/*
 * All cookies of a visitor are copied to another client, and both use the app for 54 minutes. The visitor's browser knows
 * Device Bound Session Credentials. (With Chromium itself, and our other stores: test-apps/login/test/device-bound.test.ts.)
 */

const MINUTE = 60_000;
/** Counts as secure without TLS. */
const LOCALHOST = { host: 'localhost' };

/** Apps that log in at /login, and say at /who whose session it is. */
const APPS = {
  async 'koa-session'() {
    const { default: koaSession } = await import('koa-session');
    return koaApp(
      (app) => koaSession(app),
      (ctx) => {
        ctx.session.owner = 'ada';
      },
      (ctx) => ctx.session.owner,
    );
  },

  async 'express-session'() {
    const { default: express } = await import('express');
    const { default: expressSession } = await import('express-session');
    const app = express();
    app.use(expressSession({ secret: 'a secret', resave: false, saveUninitialized: false }));
    app.get('/login', (request, response) =>
      request.session.regenerate(() => {
        request.session.owner = 'ada';
        response.send('ada');
      }),
    );
    app.get('/who', (request, response) => response.send(request.session.owner ?? 'nobody'));
    return app;
  },

  async 'koa-wsession'() {
    const { session } = await import('koa-wsession');
    const { MemoryStore } = await import('koa-wsession/memory');
    const sessions = session(new MemoryStore(), { deviceBound: true });
    return koaApp(
      () => sessions,
      (ctx) => sessions.of(ctx).logIn('ada'),
      (ctx) => sessions.of(ctx).owner,
    );
  },
};

async function koaApp(middleware, logIn, ownerOf) {
  const { default: Koa } = await import('koa');
  const app = new Koa();
  app.keys = ['a secret'];
  app.use(middleware(app));
  app.use(async (ctx) => {
    if (ctx.path === '/login') await logIn(ctx);
    ctx.body = ownerOf(ctx) ?? 'nobody';
  });
  return app;
}

/** A visitor whose browser binds sessions where it is offered that, and proves itself before each request. */
async function newVisitor(served) {
  const { Visitor } = await import('../src/visitor.js');
  const visitor = new Visitor(served);
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const encode = (part) => Buffer.from(JSON.stringify(part)).toString('base64url');
  const toJwt = (challenge, header = {}) => {
    const data = `${encode({ alg: 'ES256', typ: 'dbsc+jwt', ...header })}.${encode({ jti: challenge })}`;
    const signature = sign('sha256', Buffer.from(data), { key: privateKey, dsaEncoding: 'ieee-p1363' });
    return `${data}.${signature.toString('base64url')}`;
  };
  let bound;
  const post = (path, headers) => visitor.post(path, { headers: { ...LOCALHOST, ...headers } });
  const get = (path) => visitor.get(path, { headers: LOCALHOST });
  return {
    visitor,
    async logIn() {
      const { headers } = await get('/login');
      const [, path, challenge] =
        /path="(.*?)";challenge="(.*?)"/.exec(headers['secure-session-registration'] ?? '') ?? [];
      if (!path) return;
      const jwk = publicKey.export({ format: 'jwk' });
      bound = (await post(path, { 'secure-session-response': toJwt(challenge, { jwk }) })).json();
    },
    async whoAmI() {
      if (bound) {
        const id = { 'sec-secure-session-id': `"${bound.session_identifier}"` };
        const { headers } = await post(bound.refresh_url, id);
        const [, challenge] = /^"(.*?)"/.exec(headers['secure-session-challenge']);
        await post(bound.refresh_url, { ...id, 'secure-session-response': toJwt(challenge) });
      }
      return (await get('/who')).body;
    },
  };
}

describe('Cookies that were copied to another client', () => {
  let clock;
  beforeEach(() => {
    clock = useFakeTimers({ now: Date.now(), toFake: ['Date'] });
  });
  afterEach(() => restore());

  /** Whose session another client has with the cookies of the login, every nine minutes, while the visitor goes on. */
  async function steal(app) {
    const served = await serve(app);
    try {
      const { visitor, logIn, whoAmI } = await newVisitor(served);
      await logIn();
      const { cookie } = visitor;
      const { visitor: thief } = await newVisitor(served);
      const seen = [];
      while (seen.length < 6) {
        clock.tick(9 * MINUTE);
        expect(await whoAmI()).to.equal('ada');
        seen.push((await thief.get('/who', { headers: { ...LOCALHOST, cookie } })).body);
      }
      return seen;
    } finally {
      await served.close();
    }
  }

  for (const name of ['koa-session', 'express-session'])
    it(`are worth the session for as long as it lives, with ${name}`, async () => {
      expect(await steal(await APPS[name]())).to.deep.equal(Array(6).fill('ada'));
    });

  it('are worth nothing once the bound cookie has expired, with koa-wsession and deviceBound', async () => {
    const seen = await steal(await APPS['koa-wsession']());
    expect(seen).to.deep.equal(['ada', ...Array(5).fill('nobody')]);
  });
});
