import { expect } from 'chai';
import httpProxy from 'http-proxy';
import { createProxyMiddleware } from 'http-proxy-middleware';
import connect from 'koa-connect';
import { count } from '../../counter.js';
import { urlOf } from '../../trial.js';

const PROXIES = {
  'http-proxy': (target) => {
    const proxy = httpProxy.createProxyServer({ target });
    return (ctx) => {
      ctx.respond = false;
      proxy.web(ctx.req, ctx.res);
    };
  },
  'http-proxy-middleware': (target) => connect(createProxyMiddleware({ target, changeOrigin: true })),
};

/** The session changes on the way to another server, which responds with a cookie of its own. */
export default async function proxied(trial, name) {
  const backend = await trial.serve((_request, response) => {
    response.writeHead(200, { 'Set-Cookie': 'theirs=1; Path=/', 'Content-Type': 'text/plain' });
    response.end('from behind');
  });
  const app = trial.app();
  app.use((ctx, next) => {
    if (ctx.path !== '/count') return next();
    ctx.body = String(ctx.session.count ?? 0);
  });
  app.use((ctx, next) => {
    count(ctx);
    return next();
  });
  app.use(PROXIES[name](urlOf(backend)));

  const visitor = await trial.visit(app);
  for (const expected of ['1', '2', '3']) {
    const response = await visitor.get('/page');
    expect([response.status, response.body]).to.deep.equal([200, 'from behind']);
    expect((await visitor.get('/count')).body, 'the count behind a proxy').to.equal(expected);
  }
  expect(visitor.jar.get('theirs'), "the other server's cookie").to.equal('1');
}
