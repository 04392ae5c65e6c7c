import { expect } from 'chai';
import { OptionError, type SessionOptions, type SessionSizeError, session } from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import type { Store } from 'koa-wsession/store';
import { createSite, errorOf, OpenStore, tidy } from './helpers.js';

describe('maxBytes', () => {
  afterEach(tidy);

  const open = (options: SessionOptions & { store?: Store } = {}) =>
    createSite(
      {
        '/set': (ctx) => void (ctx.session[String(ctx.query.key)] = 'x'.repeat(Number(ctx.query.n))),
        '/text': (ctx) => void (ctx.session.text = ctx.query.text),
        '/update': (ctx, { of }) => of(ctx).update('n', () => 'x'.repeat(Number(ctx.query.n))),
        '/flash': (ctx, { of }) => of(ctx).flash('note', 'x'.repeat(Number(ctx.query.n))),
        '/login': (ctx, { of }) => of(ctx).logIn('ada'),
        '/delete': (ctx) => void delete ctx.session[String(ctx.query.key)],
        '/sizes': (ctx) =>
          Object.fromEntries(Object.entries(ctx.session).map(([key, text]) => [key, String(text).length])),
      },
      options,
    );

  it('refuses what makes a session larger: an error names the bytes and the largest keys, and nothing is stored', async () => {
    const { visitor, errors } = await open({ maxBytes: 1000 });
    const ada = visitor();
    for (const [key, n] of Object.entries({ a: 100, b: 300, c: 200, d: 250 }))
      expect((await ada.get(`/set?key=${key}&n=${n}`)).status).to.equal(200);
    const before = (await ada.get('/sizes')).json();
    const { status, setCookie } = await ada.get('/set?key=e&n=240');
    expect([status, setCookie]).to.deep.equal([500, []]);
    const error = errors[0] as unknown as SessionSizeError;
    // Each value in quotes, and its key.
    expect([error.code, error.bytes, error.largest]).to.deep.equal(['WSESSION_SIZE', 1105, ['b', 'd', 'e']]);
    expect((await ada.get('/sizes')).json()).to.deep.equal(before);
    expect((await ada.get('/set?key=e&n=135')).status, 'exactly as many').to.equal(200);
    expect((await ada.get('/set?key=e&n=136')).status).to.equal(500);
  });

  it('holds for a new session, for update(), flash() and a login', async () => {
    const { visitor, errors, sessions } = await open({ maxBytes: 1000 });
    for (const path of ['/set?key=a&n=1000', '/update?n=1000', '/flash?n=1000']) {
      const { status, setCookie } = await visitor().get(path);
      expect([status, setCookie], path).to.deep.equal([500, []]);
      const ada = visitor();
      await ada.get('/set?key=b&n=1');
      expect((await ada.get(path)).status, path).to.equal(500);
    }
    const ada = visitor();
    await ada.get('/set?key=a&n=990');
    expect((await ada.get('/login')).status).to.equal(500);
    expect([await sessions.list('ada'), errors.length]).to.deep.equal([[], 7]);
  });

  it('counts bytes, not characters', async () => {
    const { visitor } = await open({ maxBytes: 1000 });
    const text = encodeURIComponent('€'.repeat(331)); // 993 bytes, two quotes and the key
    expect((await visitor().get(`/text?text=${text}`)).status).to.equal(200);
    expect((await visitor().get(`/text?text=${text}ab`)).status).to.equal(500);
  });

  it('lets a session that is too large already get smaller', async () => {
    const store = new MemoryStore();
    const before = await open({ store, maxBytes: Number.POSITIVE_INFINITY });
    const cookies = before.visitor();
    await cookies.get('/set?key=a&n=1000');
    await cookies.get('/set?key=b&n=1000');
    const { visitor } = await open({ store, maxBytes: 500 });
    const ada = visitor();
    for (const [name, value] of cookies.jar) ada.jar.set(name, value);
    expect((await ada.get('/set?key=c&n=1')).status).to.equal(500);
    expect((await ada.get('/delete?key=a')).status).to.equal(200);
    expect((await ada.get('/set?key=b&n=900')).status).to.equal(200);
  });

  it('is 1 MiB by default; none where the store seals', async () => {
    const { visitor } = await open();
    expect((await visitor().get('/set?key=a&n=1048573')).status).to.equal(200);
    expect((await visitor().get('/set?key=a&n=1048574')).status).to.equal(500);
    const sealed = await open({ store: new OpenStore() });
    await sealed.visitor().get('/set?key=a&n=1048574');
    expect(sealed.errors.map(({ code }) => code)).to.deep.equal(['WSESSION_COOKIE_SIZE']);
  });

  it('takes bytes over 0, or Infinity', async () => {
    for (const bad of [0, -1, Number.NaN, '1mb', null])
      expect(await errorOf(() => session(new MemoryStore(), { maxBytes: bad as never }))).to.be.instanceOf(OptionError);
    const { visitor } = await open({ maxBytes: Number.POSITIVE_INFINITY });
    expect((await visitor().get('/set?key=a&n=2000000')).status).to.equal(200);
  });
});
