import { expect } from 'chai';
import Koa from 'koa';
import { headerTransport, session } from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import { agentCookie } from 'koa-wsession/testing';
import { Client } from 'testkit/http';
import { errorOf, OpenStore, serveApp, tidy } from './helpers.js';

describe('agentCookie(sessions, content, options)', () => {
  afterEach(tidy);

  it('is a Cookie header of a visitor with this session, on any store, secure, signed, owned', async () => {
    for (const store of [new MemoryStore(), new MemoryStore({ secure: true }), new OpenStore()]) {
      const sessions = session(store, { name: 'sid' });
      const app = new Koa();
      app.proxy = true;
      app.keys = ['key'];
      app.use(sessions);
      app.use((ctx) => {
        ctx.body = JSON.stringify([{ ...ctx.session }, ctx.session.owner ?? null, ctx.session.isNew]);
      });
      const client = new Client(await serveApp(app));
      const cookie = await agentCookie(sessions, { user: 'ada' }, { app, owner: 'ada' });
      expect(cookie).to.match(/^sid=[\w.-]+$/);
      const { body } = await client.get('/', { headers: { cookie, 'x-forwarded-proto': 'https' } });
      expect(JSON.parse(body)).to.deep.equal([{ user: 'ada' }, 'ada', false]);
    }
  });

  it('says so where there is no cookie', async () => {
    const byHeader = session(new MemoryStore(), { transport: headerTransport('x-session') });
    for (const attempt of [
      () => agentCookie(session(new MemoryStore()), {}),
      () => agentCookie(byHeader, { user: 'ada' }),
    ]) {
      expect((await errorOf(attempt)).message).to.match(/^There is no cookie: the content is empty, or/);
    }
  });

  it('refuses what can not be stored', async () => {
    const attempt = () => agentCookie(session(new MemoryStore()), { a: /x/ });
    expect((await errorOf(attempt)).code).to.equal('WSESSION_VALUE');
  });
});
