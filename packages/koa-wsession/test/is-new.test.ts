import { expect } from 'chai';
import { MemoryStore } from 'koa-wsession/memory';
import { createSite, inRequest, observe, SOME_COOKIE, tidy } from './helpers.js';

describe('isNew', () => {
  afterEach(tidy);

  it('is true until something is stored, and false on the next request', async () => {
    const { visitor } = await createSite({
      '/': async (ctx) => {
        const { session } = ctx;
        const seen = [session.isNew];
        session.a = 1;
        seen.push(session.isNew);
        await session.save();
        seen.push(session.isNew);
        return seen;
      },
      '/next': (ctx) => ctx.session.isNew,
    });
    const ada = visitor();
    expect((await ada.get('/')).json()).to.deep.equal([true, true, false]);
    expect((await ada.get('/next')).json()).to.equal(false);
  });

  it('stays true for a visitor who stores nothing: no record, and no cookie', async () => {
    const store = new MemoryStore();
    const writes = observe(store);
    const { visitor } = await createSite(
      {
        '/': (ctx) => {
          delete ctx.session.never;
          ctx.session = {};
          return ctx.session.isNew;
        },
      },
      { store },
    );
    const ada = visitor();
    for (let i = 0; i < 2; i++) {
      const reply = await ada.get('/');
      expect([reply.json(), reply.setCookie]).to.deep.equal([true, []]);
    }
    expect(writes).to.deep.equal([]);
  });

  it('is true where the cookie leads nowhere', async () => {
    const { body } = await inRequest((ctx) => ctx.session.isNew, { cookie: SOME_COOKIE });
    expect(body).to.equal('true');
  });

  it('is false after a login, and after regenerate(); true once the session has ended', async () => {
    const { visitor } = await createSite({
      '/login': async (ctx, { of }) => {
        await of(ctx).logIn('ada');
        return ctx.session.isNew;
      },
      '/regenerate': async (ctx) => {
        await ctx.session.regenerate();
        return ctx.session.isNew;
      },
      '/null': (ctx) => {
        ctx.session = null;
        return ctx.session.isNew;
      },
      '/destroy': async (ctx) => {
        await ctx.session.destroy();
        return ctx.session.isNew;
      },
    });
    const ada = visitor();
    for (const [path, expected] of [
      ['/login', false],
      ['/regenerate', false],
      ['/null', true],
      ['/login', false],
      ['/destroy', true],
    ] as const)
      expect((await ada.get(path)).json(), path).to.equal(expected);
  });
});
