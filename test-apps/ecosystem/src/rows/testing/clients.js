import { expect } from 'chai';
import inject from 'light-my-request';
import serverless from 'serverless-http';
import request from 'supertest';

/** Each makes a client for an app: `get(path)` returns `{ status, text }`, and keeps cookies. */
const CLIENTS = {
  supertest: (app) => {
    const agent = request.agent(app.callback());
    return async (path) => {
      const { status, text } = await agent.get(path);
      return { status, text };
    };
  },
  'light-my-request': (app) => {
    const listener = app.callback();
    let cookies = {};
    return async (path) => {
      const response = await inject(listener, { method: 'GET', url: path, cookies });
      cookies = { ...cookies, ...Object.fromEntries(response.cookies.map(({ name, value }) => [name, value])) };
      return { status: response.statusCode, text: response.payload };
    };
  },
  'serverless-http': (app) => {
    const handler = serverless(app);
    const jar = new Map();
    return async (path) => {
      const cookie = Array.from(jar, ([name, value]) => `${name}=${value}`).join('; ');
      const response = await handler(
        { httpMethod: 'GET', path, headers: { cookie }, requestContext: {}, multiValueHeaders: { cookie: [cookie] } },
        {},
      );
      for (const line of response.multiValueHeaders?.['set-cookie'] ?? []) {
        const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
        jar.set(name, value);
      }
      return { status: response.statusCode, text: response.body };
    };
  },
};

/** A test of an app that logs in, without a server or with one that the client starts. */
export default async function clients(trial, name) {
  const app = trial.app();
  app.use(async (ctx) => {
    if (ctx.path === '/login') {
      ctx.session.user = 'ada';
      ctx.redirect('/');
    } else if (ctx.path === '/raw') {
      ctx.respond = false;
      ctx.session.raw = true;
      ctx.res.writeHead(200, { 'Content-Type': 'text/plain' });
      ctx.res.end('raw');
    } else ctx.body = `${ctx.session.user ?? 'nobody'} ${ctx.session.raw ?? false}`;
  });
  expect(await CLIENTS[name](app)('/raw'), 'the first request').to.deep.equal({ status: 200, text: 'raw' });
  const get = CLIENTS[name](app);
  expect(await get('/')).to.deep.equal({ status: 200, text: 'nobody false' });
  expect((await get('/login')).status).to.equal(302);
  expect(await get('/')).to.deep.equal({ status: 200, text: 'ada false' });
  expect(await get('/raw')).to.deep.equal({ status: 200, text: 'raw' });
  expect((await get('/')).text, 'after a response past Koa').to.equal('ada true');
}
