import { expect } from 'chai';
import { OptionError } from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import { createSite, errorOf, inRequest, MarkingStore, tidy } from './helpers.js';

describe('logOut({ clearSiteData })', () => {
  afterEach(tidy);

  async function logOutWith(options: object | undefined, store = new MemoryStore() as never) {
    const { visitor } = await createSite(
      {
        '/login': (ctx, { of }) => of(ctx).logIn('ada'),
        '/logout': (ctx, { of }) => of(ctx).logOut(options),
        '/owner': (ctx, { of }) => ({ owner: of(ctx).owner }),
      },
      { store },
    );
    const ada = visitor();
    await ada.get('/login');
    const { status, setCookie, headers } = await ada.get('/logout');
    expect([status, setCookie.length, ada.jar.size]).to.deep.equal([200, 1, 0]);
    expect((await ada.get('/owner')).json()).to.deep.equal({});
    return headers['clear-site-data'];
  }

  it('sends no header by default', async () => {
    for (const options of [undefined, {}, { clearSiteData: false }, { clearSiteData: undefined }])
      expect(await logOutWith(options)).to.equal(undefined);
  });

  it('asks the browser to delete cookies and storage, or what a list says', async () => {
    expect(await logOutWith({ clearSiteData: true })).to.equal('"cookies", "storage"');
    expect(await logOutWith({ clearSiteData: ['cache', 'storage'] })).to.equal('"cache", "storage"');
    expect(await logOutWith({ clearSiteData: true }, new MarkingStore() as never)).to.equal('"cookies", "storage"');
  });

  it('refuses other values, and unknown options, and ends nothing', async () => {
    await inRequest(async (ctx, { of }) => {
      await of(ctx).logIn('ada');
      for (const bad of [{ clearSiteData: 'cookies' }, { clearSiteData: ['*'] }, { clearSiteData: 1 }, { clear: true }])
        expect(await errorOf(() => of(ctx).logOut(bad as never)), JSON.stringify(bad)).to.be.instanceOf(OptionError);
      expect(of(ctx).owner).to.equal('ada');
    });
  });

  it('once the headers are sent ends the session all the same', async () => {
    const { visitor, sessions, errors } = await createSite({
      '/login': (ctx, { of }) => of(ctx).logIn('ada'),
      '/logout': async (ctx, { of }) => {
        ctx.respond = false;
        ctx.res.flushHeaders();
        await of(ctx).logOut({ clearSiteData: true });
        ctx.res.end('bye');
      },
    });
    const ada = visitor();
    await ada.get('/login');
    expect((await ada.get('/logout')).body).to.equal('bye');
    expect([await sessions.list('ada'), errors]).to.deep.equal([[], []]);
  });
});
