import { expect } from 'chai';
import type Koa from 'koa';
import { headerTransport, OptionError, type SessionOptions, session, type Transport } from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import type { Client } from 'testkit/http';
import { createSite, errorOf, OpenStore, tidy } from './helpers.js';

const handlers = {
  '/': (ctx: Koa.Context) => {
    ctx.session.n = (ctx.session.n ?? 0) + 1;
    return ctx.session.n;
  },
  '/read': (ctx: Koa.Context) => ctx.session.n ?? null,
  '/untouched': () => 'fine',
  '/throw': (ctx: Koa.Context) => {
    ctx.session.n = 9;
    ctx.throw(401);
  },
  '/end': (ctx: Koa.Context) => ctx.session.destroy(),
};

describe('transport', () => {
  afterEach(tidy);

  const get = (client: Client, path: string, token?: string) =>
    client.get(path, token === undefined ? {} : { headers: { 'x-session': token } });

  it('in a header: the response gives the token, errors included, and no cookie', async () => {
    for (const store of [new MemoryStore(), new OpenStore()]) {
      const { visitor } = await createSite(handlers, { store, transport: headerTransport('X-Session') });
      const client = visitor();
      const first = await get(client, '/', '');
      const { 'x-session': token, vary, 'cache-control': cache } = first.headers;
      expect([first.json(), first.setCookie, vary, cache]).to.deep.equal([1, [], 'X-Session', 'no-store']);
      const second = await get(client, '/', String(token));
      expect([second.json(), second.headers['x-session'] !== undefined]).to.deep.equal([2, true]);
      const third = await get(client, '/throw', String(second.headers['x-session']));
      expect([third.status, third.headers['x-session'] !== undefined, third.headers.vary]).to.deep.equal([
        401,
        true,
        'X-Session',
      ]);
      const last = String(third.headers['x-session']);
      expect((await get(client, '/read', last)).json()).to.equal(9);
      expect((await get(client, '/untouched', last)).headers.vary).to.equal(undefined);
      expect((await get(client, '/end', last)).headers['x-session']).to.equal('');
      expect((await get(client, '/read', last)).json()).to.equal(null);
    }
  });

  it('in a header takes no cookie for a token, and nothing that can not be one', async () => {
    const { visitor } = await createSite(handlers, { transport: headerTransport('x-session') });
    const ada = visitor();
    const token = String((await get(ada, '/', '')).headers['x-session']);
    expect((await ada.get('/read', { headers: { cookie: `wsession=${token}` } })).json()).to.equal(null);
    for (const bad of ['x', `${token}A`, `${token}, ${token}`, 'A'.repeat(9000), '../..'])
      expect((await get(ada, '/read', bad)).json()).to.equal(null);
    expect((await get(ada, '/read', token)).json()).to.equal(1);
  });

  it('in a list: the first that a request uses, and the last where it uses none', async () => {
    const { visitor } = await createSite(handlers, { transport: [headerTransport('x-session'), 'cookie'] });
    const client = visitor();
    const byCookie = await client.get('/');
    expect([byCookie.setCookie.length, byCookie.headers['x-session']]).to.deep.equal([1, undefined]);
    expect(byCookie.headers.vary).to.equal('x-session, Cookie');
    const byHeader = await get(client, '/', '');
    expect([byHeader.json(), byHeader.setCookie]).to.deep.equal([1, []]);
    const token = String(byHeader.headers['x-session']);
    await get(client, '/', token);
    const both = await get(client, '/', token);
    expect([both.json(), both.setCookie]).to.deep.equal([3, []]);
    expect((await client.get('/')).json()).to.equal(2);
  });

  it('can be one of your own', async () => {
    const query: Transport = {
      requestHeader: 'X-Query',
      responseHeader: 'X-Token',
      limit: 4000,
      overhead: 0,
      read: ({ url }) => {
        const token = new URL(String(url), 'http://x').searchParams.get('token');
        return token === null ? undefined : [token];
      },
      write: (token, maxAge) => `${token};${maxAge}`,
      clear: () => 'none',
    };
    const { visitor } = await createSite(handlers, { transport: query });
    const client = visitor();
    const [token, maxAge] = String((await client.get('/')).headers['x-token']).split(';');
    expect(maxAge).to.equal('3600');
    expect((await client.get(`/?token=${token}`)).json()).to.equal(2);
    expect((await client.get(`/end?token=${token}`)).headers['x-token']).to.equal('none');
  });

  it('says which header a session is too large for', async () => {
    const { visitor, errors } = await createSite(
      { '/': (ctx) => void (ctx.session.a = 'x'.repeat(8000)) },
      { store: new OpenStore(), transport: headerTransport('x-session') },
    );
    expect((await get(visitor(), '/', '')).status).to.equal(500);
    expect(errors[0]?.message).to.match(
      /bytes in the x-session header, which holds 8192\. Largest keys: "a"/,
    );
  });

  it('that is none is refused when it is constructed', async () => {
    for (const transport of [
      'header',
      5,
      null,
      {},
      [],
      ['cookie', 'x'],
      { read: () => [], write: () => '' },
    ]) {
      const error = await errorOf(() => session(new MemoryStore(), { transport } as SessionOptions));
      expect(error).to.be.instanceOf(OptionError);
      expect(error.message).to.match(/^transport is .+, but it takes "cookie", a transport such as/);
    }
  });
});
