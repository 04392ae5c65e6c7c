import { expect } from 'chai';
import Koa from 'koa';
import { headerTransport, session, UnavailableError } from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import { agentCookie } from 'koa-wsession/testing';
import { asStore, createSite, errorOf, OpenStore, type SiteOptions, stubStore, tidy } from './helpers.js';

async function build(options: SiteOptions = {}) {
  const site = await createSite(
    {
      '/read': (ctx) => ({ ...ctx.session }),
      '/owner': (ctx, { of }) => of(ctx).owner ?? null,
      '/write': (ctx) => void (ctx.session.mine = 1),
    },
    options,
  );
  return {
    ...site,
    get: (path: string, cookie: string, headers: Record<string, string> = {}) =>
      site.visitor().get(path, { headers: { cookie, ...headers } }),
  };
}

describe('agentCookie(sessions, content)', () => {
  afterEach(tidy);

  for (const [kind, createStore] of [
    ['kept', () => new MemoryStore()],
    ['sealed', () => new OpenStore()],
  ] as const) {
    it(`is a Cookie header of a visitor who has the content (${kind})`, async () => {
      const { sessions, get } = await build({ store: createStore(), name: 'sid' });
      const cookie = await agentCookie(sessions, { user: 'ada', seen: new Date(5), list: [1, [2]] });
      expect(cookie).to.match(/^sid=[\w-]+$/);
      expect((await get('/read', cookie)).json()).to.deep.equal({
        user: 'ada',
        seen: new Date(5).toISOString(),
        list: [1, [2]],
      });
      expect((await get('/write', cookie)).setCookie).to.have.length(1);
      expect(await agentCookie(sessions, { user: 'bob' })).not.to.equal(cookie);
    });
  }

  it('is signed with the keys, and with app.keys where the app is given', async () => {
    const own = await build({ keys: ['secret'] });
    const signed = await agentCookie(own.sessions, { a: 1 });
    expect((await own.get('/read', signed)).json()).to.deep.equal({ a: 1 });

    const apps = await build({ keyring: ['secret'] });
    const { app } = apps;
    expect((await apps.get('/read', await agentCookie(apps.sessions, { a: 1 }, { app }))).json()).to.deep.equal({
      a: 1,
    });
    expect((await apps.get('/read', await agentCookie(apps.sessions, { a: 1 }))).json(), 'without').to.deep.equal({});
  });

  it('also of sessions that are `secure`', async () => {
    const site = await build({ store: new MemoryStore({ secure: true }), name: '__Host-s' });
    site.app.proxy = true;
    for (const options of [{}, { app: site.app }, { app: new Koa() }]) {
      const cookie = await agentCookie(site.sessions, { a: 1 }, options);
      const reply = await site.get('/read', cookie, { 'x-forwarded-proto': 'https' });
      expect(reply.json()).to.deep.equal({ a: 1 });
    }
  });

  it('with an owner, a string or a number, is one of a visitor who is logged in', async () => {
    const { sessions, get } = await build();
    const cookie = await agentCookie(sessions, { a: 1 }, { owner: 'ada' });
    expect((await get('/owner', cookie)).json()).to.equal('ada');
    expect((await get('/read', cookie)).json()).to.deep.equal({ a: 1 });
    await agentCookie(sessions, {}, { owner: 'ada' });
    const listed = await sessions.list('ada');
    expect(listed.map(({ authenticatedAt }) => authenticatedAt instanceof Date)).to.deep.equal([true, true]);
    await agentCookie(sessions, {}, { owner: 7 });
    expect(await sessions.list(7)).to.have.length(1);
  });

  it('takes a lifetime with the content', async () => {
    const { sessions, get } = await build();
    const cookie = await agentCookie(sessions, { a: 1, maxAge: 120_000 });
    expect((await get('/write', cookie)).setCookie[0]).to.include('; Max-Age=120;');
  });

  it('where a cookie is one transport of several, it is a new visitor’s', async () => {
    const { sessions, get } = await build({ transport: [headerTransport('x-session'), 'cookie'] });
    expect((await get('/read', await agentCookie(sessions, { a: 1 }))).json()).to.deep.equal({ a: 1 });
  });

  it('fails for empty content, and where there are no cookies', async () => {
    for (const [transport, content] of [
      ['cookie', {}],
      [headerTransport('x-session'), { a: 1 }],
    ] as const) {
      const error = await errorOf(() => agentCookie(session(new MemoryStore(), { transport }), content));
      expect(error.message).to.equal('There is no cookie: the content is empty, or the sessions travel in a header.');
    }
  });

  it('fails as a save does', async () => {
    const sessions = session(new MemoryStore());
    for (const [content, code] of [
      [{ f: () => 1 }, 'WSESSION_VALUE'],
      [{ save: 1 }, 'WSESSION_RESERVED'],
      [{ maxAge: 5 }, 'WSESSION_OPTION'],
      [{ deep: { own: new (class Own {})() } }, 'WSESSION_VALUE'],
    ] as const)
      expect((await errorOf(() => agentCookie(sessions, content))).code).to.equal(code);
    expect((await errorOf(() => agentCookie(sessions, { a: 1 }, { owner: '' }))).code).to.equal('WSESSION_OPTION');
    const sealed = session(new OpenStore());
    const big = { big: 'x'.repeat(5000) };
    expect((await errorOf(() => agentCookie(sealed, big))).code).to.equal('WSESSION_COOKIE_SIZE');
    const store = stubStore();
    store.create.rejects(new Error('down'));
    expect(await errorOf(() => agentCookie(session(asStore(store)), { a: 1 }))).to.be.instanceOf(UnavailableError);
  });
});
