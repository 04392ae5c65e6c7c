import { expect } from 'chai';
import { InsecureError } from 'koa-wsession';
import { createSite, errorOf, inRequest, OpenStore, tidy } from './helpers.js';

/* What the core does for a store whose tokens are the sessions themselves. */
describe('with a store that seals', () => {
  afterEach(tidy);

  it('the token goes to the visitor as it is, a new one after each change, and is not signed', async () => {
    const store = new OpenStore();
    const { visitor } = await createSite(
      {
        '/': (ctx) => {
          ctx.session.n = (ctx.session.n ?? 0) + 1;
          return ctx.session.n;
        },
      },
      { store, keys: ['key'], keyring: ['key'] },
    );
    const ada = visitor();
    const tokens = new Set();
    for (let n = 1; n <= 3; n++) {
      expect((await ada.get('/')).json()).to.equal(n);
      tokens.add(ada.jar.get('wsession'));
      expect(store.load(String(ada.jar.get('wsession')))?.entries.get('n')).to.equal(String(n));
    }
    expect(tokens.size).to.equal(3);
  });

  it('the session is loaded when it is first used, once', async () => {
    const store = new OpenStore();
    const { visitor } = await createSite(
      {
        '/': (ctx) => void (ctx.session.n = 1),
        '/get': async (ctx) => {
          const before = [...store.calls];
          await Promise.resolve();
          const seen = [ctx.session.n, ctx.session.n, ctx.session.isNew];
          return [before, store.calls, seen];
        },
      },
      { store },
    );
    const ada = visitor();
    await ada.get('/');
    store.calls.length = 0;
    expect((await ada.get('/get')).json()).to.deep.equal([[], ['load'], [1, 1, false]]);
  });

  it('each step of a request goes on from the token of the step before', async () => {
    const store = new OpenStore();
    const { visitor } = await createSite(
      {
        '/': (ctx) => void (ctx.session.n = 1),
        '/steps': async (ctx, { of }) => {
          ctx.session.a = 1;
          await ctx.session.save();
          await of(ctx).update('n', (n) => n + 1);
          await ctx.session.regenerate();
          await of(ctx).update('n', (n) => n + 1);
          ctx.session.b = 2;
        },
        '/get': (ctx) => ({ ...ctx.session }),
      },
      { store },
    );
    const ada = visitor();
    await ada.get('/');
    expect((await ada.get('/steps')).setCookie).to.have.length(1);
    expect((await ada.get('/get')).json()).to.deep.equal({ n: 3, a: 1, b: 2 });
  });

  it('a token that can’t be opened is an anonymous visitor’s', async () => {
    for (const cookie of ['wsession=', 'wsession=x', 'wsession=%00', `wsession=${'A'.repeat(4000)}`]) {
      const { status, body, setCookie } = await inRequest((ctx) => [ctx.session.isNew, ctx.session.n ?? null], {
        store: new OpenStore(),
        cookie,
      });
      expect([status, body, setCookie]).to.deep.equal([200, '[true,null]', []]);
    }
  });

  it('that throws, each use of the session throws a 503', async () => {
    const store = new OpenStore();
    store.load = () => {
      throw new Error('down');
    };
    const { status } = await inRequest(
      async (ctx) => {
        for (let i = 0; i < 2; i++) expect((await errorOf(() => ctx.session.n)).code).to.equal('WSESSION_UNAVAILABLE');
      },
      { store, cookie: 'wsession=x' },
    );
    expect(status).to.equal(200);
  });

  it('that is secure, nothing is loaded over plain http', async () => {
    const store = Object.assign(new OpenStore(), { secure: true });
    await inRequest(
      async (ctx) => {
        expect(ctx.session.n).to.equal(undefined);
        expect(await errorOf(() => void (ctx.session.n = 1))).to.be.instanceOf(InsecureError);
      },
      { store, cookie: 'wsession=x' },
    );
    expect(store.calls).to.deep.equal([]);
  });
});
