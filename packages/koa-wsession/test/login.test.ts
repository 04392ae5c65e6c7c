import { expect } from 'chai';
import type Koa from 'koa';
import { InsecureError, type LogInOptions, OptionError, PathError, type Sessions } from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import type { Store } from 'koa-wsession/store';
import { stub, useFakeTimers } from 'sinon';
import type { Client } from 'testkit/http';
import {
  asStore,
  createSite,
  errorOf,
  Gate,
  type Handler,
  inRequest,
  jittered,
  MarkingStore,
  observe,
  type Site,
  type SiteOptions,
  SOME_COOKIE,
  stubStore,
  tidy,
  twinOf,
} from './helpers.js';

const STORES: ReadonlyArray<[kind: string, create: () => Store]> = [
  ['kept', () => new MemoryStore()],
  ['sealed', () => new MarkingStore()],
];

/** The session as a test looks at it. */
function read(ctx: Koa.Context, sessions: Sessions) {
  const { owner, label } = sessions.of(ctx);
  return { data: { ...ctx.session }, owner, label };
}

/** A site where `before` runs ahead of each login, and a visitor who has a cart. */
async function withCart(
  before: (ctx: Koa.Context) => unknown = () => undefined,
  { logIn = {}, handlers = {}, ...options }: SiteOptions & { logIn?: LogInOptions; handlers?: Handlers } = {},
): Promise<Site & { ada: Client }> {
  const site = await createSite(
    {
      '/cart': (ctx, sessions) => {
        ctx.session.cart = ['book'];
        ctx.session.seen = { pages: 1 };
        sessions.of(ctx).flash('note', 'welcome');
      },
      '/ada': async (ctx, sessions) => {
        await before(ctx);
        await sessions.of(ctx).logIn('ada', logIn);
        ctx.redirect('/home');
      },
      '/bob': async (ctx, sessions) => {
        await before(ctx);
        await sessions.of(ctx).logIn('bob', logIn);
      },
      '/out': (ctx, sessions) => sessions.of(ctx).logOut(),
      '/read': read,
      '/notes': (ctx, sessions) => sessions.of(ctx).takeFlash('note'),
      ...handlers,
    },
    options,
  );
  const ada = site.visitor();
  await ada.get('/cart');
  return { ...site, ada };
}

type Handlers = Record<string, Handler>;

const CART = { cart: ['book'], seen: { pages: 1 } };

for (const [kind, createStore] of STORES) {
  describe(`logIn(owner, options), ${kind}`, () => {
    afterEach(tidy);

    it('keeps the label exactly', async () => {
      const label = '"Fire\0fox" \ud83d \u2028';
      const { ada } = await withCart(undefined, { store: createStore(), logIn: { label } });
      await ada.get('/ada');
      expect((await ada.get('/read')).json().label).to.equal(label);
    });

    it('gives the session a new id, an owner, a label and the time of authentication', async () => {
      const clock = useFakeTimers({ now: 1_000_000, toFake: ['Date'] });
      const site = await withCart(undefined, {
        store: createStore(),
        logIn: { label: 'Firefox' },
        handlers: {
          '/when': (ctx, { of }) => {
            const { authenticatedAt, createdAt } = of(ctx);
            return [authenticatedAt, createdAt, of(ctx).isFresh(5), of(ctx).isFresh(4.9)];
          },
        },
      });
      const { ada } = site;
      const old = twinOf(ada);
      expect((await ada.get('/when')).json().slice(0, 3)).to.deep.equal([null, new Date(1_000_000).toJSON(), false]);
      clock.tick(1000);
      const { status, setCookie } = await ada.get('/ada');
      expect([status, setCookie.length]).to.deep.equal([302, 1]);
      expect(ada.cookie).to.not.equal(old.cookie);
      expect((await ada.get('/read')).json()).to.deep.equal({ data: CART, owner: 'ada', label: 'Firefox' });
      clock.tick(5000);
      expect((await ada.get('/when')).json()).to.deep.equal([
        new Date(1_001_000).toJSON(),
        new Date(1_000_000).toJSON(),
        true,
        false,
      ]);
      expect((await old.get('/read')).json(), 'with the old id').to.deep.equal({ data: {} });
    });

    it('has stored all of it once awaited', async () => {
      const store = createStore();
      const order = observe(store);
      const { ada } = await withCart(undefined, {
        store,
        handlers: {
          '/login': async (ctx, sessions) => {
            order.length = 0;
            await sessions.of(ctx).logIn('ada', { label: 'x', maxAge: 60_000 });
            return [...order];
          },
        },
      });
      expect((await ada.get('/login')).json()).to.deep.equal(['create', 'destroy']);
      expect(order).to.deep.equal(['create', 'destroy']);
    });

    it('makes a session for a visitor without one, whatever id the visitor sends', async () => {
      const site = await withCart(undefined, { store: createStore() });
      const planted = 'B'.repeat(32);
      for (const visitor of [site.visitor(), site.visitor()]) {
        visitor.jar.set('wsession', planted);
        await visitor.get('/ada');
        expect(visitor.jar.get('wsession')).to.match(/^[\w-]{32,}$/);
        expect(visitor.jar.get('wsession')).to.not.equal(planted);
        expect((await visitor.get('/read')).json()).to.deep.equal({ data: {}, owner: 'ada' });
      }
    });

    it('of an anonymous visitor’s session moves everything over, messages too', async () => {
      const { ada } = await withCart(undefined, { store: createStore() });
      await ada.get('/ada');
      expect((await ada.get('/read')).json().data).to.deep.equal(CART);
      expect((await ada.get('/notes')).json()).to.deep.equal(['welcome']);
    });

    it('of an anonymous visitor’s session moves with `keep` only these keys, the messages, and what this request assigned', async () => {
      const change = (ctx: Koa.Context) => {
        ctx.session['\0odd'] = 1;
        ctx.session.seen.pages = 2; // in place: that isn't assigned
        ctx.session.name = 'Ada';
      };
      const { ada } = await withCart(change, {
        store: createStore(),
        logIn: { keep: ['cart', '\0odd', 'none'] },
      });
      await ada.get('/ada');
      expect((await ada.get('/read')).json().data).to.deep.equal({ cart: ['book'], '\0odd': 1, name: 'Ada' });
      expect((await ada.get('/notes')).json()).to.deep.equal(['welcome']);
    });

    it('with an empty `keep` moves the messages only', async () => {
      const { ada } = await withCart(undefined, { store: createStore(), logIn: { keep: [] } });
      await ada.get('/ada');
      expect((await ada.get('/read')).json()).to.deep.equal({ data: {}, owner: 'ada' });
      expect((await ada.get('/notes')).json()).to.deep.equal(['welcome']);
    });

    it('leaves out what this request deleted before', async () => {
      const forget = (ctx: Koa.Context) => void delete ctx.session.seen;
      const { ada } = await withCart(forget, { store: createStore() });
      await ada.get('/ada');
      expect((await ada.get('/read')).json().data).to.deep.equal({ cart: ['book'] });
    });

    it('of the same owner keeps content, messages, label and lifetime, under a new id', async () => {
      const clock = useFakeTimers({ now: 1_000_000, toFake: ['Date'] });
      const { ada } = await withCart(undefined, {
        store: createStore(),
        handlers: {
          '/first': (ctx, { of }) => of(ctx).logIn('ada', { label: 'Firefox', maxAge: 120_000 }),
          '/again': async (ctx, { of }) => {
            await of(ctx).logIn('ada', { keep: [] }); // which is about an anonymous visitor's
            return [ctx.session.maxAge, of(ctx).createdAt, of(ctx).authenticatedAt];
          },
        },
      });
      await ada.get('/first');
      const before = ada.cookie;
      clock.tick(1000);
      const again = await ada.get('/again');
      expect(again.json()).to.deep.equal([120_000, new Date(1_000_000).toJSON(), new Date(1_001_000).toJSON()]);
      expect(again.setCookie[0]).to.match(/; Max-Age=120;/);
      expect(ada.cookie).to.not.equal(before);
      expect((await ada.get('/read')).json()).to.deep.equal({ data: CART, owner: 'ada', label: 'Firefox' });
      expect((await ada.get('/notes')).json()).to.deep.equal(['welcome']);
    });

    it('of another owner’s session drops what was loaded, also what was changed in place; what was assigned stays', async () => {
      const clock = useFakeTimers({ now: 1_000_000, toFake: ['Date'] });
      const site = await withCart(
        (ctx) => {
          if (ctx.path !== '/bob') return;
          ctx.session.cart.push('pen');
          ctx.session.seen.pages = 2;
          ctx.session.theme = 'dark';
        },
        {
          store: createStore(),
          handlers: {
            '/first': (ctx, { of }) => of(ctx).logIn('ada', { label: 'Firefox', maxAge: 120_000 }),
            '/age': (ctx, { of }) => [ctx.session.maxAge ?? null, of(ctx).createdAt],
          },
        },
      );
      const { ada } = site;
      await ada.get('/first');
      const former = twinOf(ada);
      clock.tick(1000);
      const { setCookie } = await ada.get('/bob');
      expect(setCookie[0]).to.match(/; Max-Age=3600;/);
      expect((await ada.get('/read')).json()).to.deep.equal({ data: { theme: 'dark' }, owner: 'bob' });
      expect((await ada.get('/notes')).json()).to.deep.equal([]);
      expect((await ada.get('/age')).json()).to.deep.equal([null, new Date(1_001_000).toJSON()]);
      expect((await former.get('/read')).json()).to.deep.equal({ data: {} });
    });

    it('shows the new content at once, and stores what comes after it in the new session', async () => {
      const { ada } = await withCart(undefined, {
        store: createStore(),
        handlers: {
          '/login': async (ctx, sessions) => {
            ctx.session.cart;
            await sessions.of(ctx).logIn('ada', { keep: ['seen'] });
            ctx.session.after = 1;
            return read(ctx, sessions);
          },
        },
      });
      const seen = { data: { seen: { pages: 1 }, after: 1 }, owner: 'ada' };
      expect((await ada.get('/login')).json()).to.deep.equal(seen);
      expect((await ada.get('/read')).json()).to.deep.equal(seen);
    });

    it('takes a lifetime: milliseconds, or "session" for a cookie that ends with the browser', async () => {
      for (const [maxAge, cookie] of [
        [30 * 86_400_000, /; Max-Age=2592000;/],
        ['session', /^wsession=[\w-]+; Path/],
      ] as const) {
        const { ada } = await withCart(undefined, {
          store: createStore(),
          logIn: { maxAge },
          handlers: { '/age': (ctx) => ctx.session.maxAge },
        });
        expect((await ada.get('/ada')).setCookie[0]).to.match(cookie);
        expect((await ada.get('/age')).json()).to.equal(maxAge);
      }
    });

    it('keeps the lifetime of an anonymous visitor’s session, unless `keep` says what stays', async () => {
      for (const [logIn, expected] of [
        [{}, 60],
        [{ keep: ['cart'] }, 3600],
      ] as const) {
        const { ada } = await withCart(undefined, {
          store: createStore(),
          logIn,
          handlers: { '/short': (ctx) => void (ctx.session.maxAge = 60_000) },
        });
        await ada.get('/short');
        expect((await ada.get('/ada')).setCookie[0]).to.include(`; Max-Age=${expected};`);
      }
    });

    it('clicked twice at once is two redirects, logged in, with the cart (100 rounds)', async () => {
      let both: { arrived: number; gate: Gate } | undefined;
      const site = await withCart(
        async (ctx) => {
          ctx.session.cart;
          if (both && ++both.arrived === 2) both.gate.open();
          await both?.gate.passed;
        },
        { store: jittered(createStore()) },
      );
      for (let round = 0; round < 100; round++) {
        // In every other round, both have loaded the session before either logs in.
        both = round % 2 ? { arrived: 0, gate: new Gate() } : undefined;
        const ada = site.visitor();
        await ada.get('/cart');
        const replies = await Promise.all([ada.get('/ada'), ada.get('/ada')]);
        expect(replies.map(({ status }) => status)).to.deep.equal([302, 302]);
        expect((await ada.get('/read')).json(), `round ${round}`).to.deep.equal({ data: CART, owner: 'ada' });
      }
    });

    it('clicked twice, one after the other, is two redirects, logged in, with the cart (100 rounds)', async () => {
      const site = await withCart(undefined, { store: jittered(createStore()) });
      for (let round = 0; round < 100; round++) {
        const ada = site.visitor();
        await ada.get('/cart');
        const late = twinOf(ada);
        expect((await ada.get('/ada')).status).to.equal(302);
        expect((await late.get('/ada')).status).to.equal(302);
        for (const browser of [ada, late])
          expect((await browser.get('/read')).json(), `round ${round}`).to.deep.equal({
            data: CART,
            owner: 'ada',
          });
      }
    });

    it('with a replaced id, for another owner than the one who took its place, starts empty', async () => {
      const { ada } = await withCart((ctx) => void (ctx.session.mine = ctx.path), { store: createStore() });
      const late = twinOf(ada);
      await ada.get('/ada');
      await late.get('/bob');
      expect((await late.get('/read')).json()).to.deep.equal({ data: { mine: '/bob' }, owner: 'bob' });
      expect((await late.get('/notes')).json()).to.deep.equal([]);
      expect((await ada.get('/read')).json().owner).to.equal('ada');
    });

    it('that loses against a logout starts empty', async () => {
      const { ada } = await slowLogin(createStore(), '/out');
      expect((await ada.get('/read')).json()).to.deep.equal({ data: { name: 'Ada' }, owner: 'ada' });
      expect((await ada.get('/notes')).json()).to.deep.equal([]);
    });

    it('that loses against the login of another owner, from a session that was the owner’s, starts empty', async () => {
      const { ada } = await slowLogin(createStore(), '/bob', '/ada');
      expect((await ada.get('/read')).json()).to.deep.equal({ data: { name: 'Ada' }, owner: 'ada' });
    });
  });
}

/** A login that had loaded its session before another request ended it. `first`: a login before. */
async function slowLogin(store: Store, other: string, first?: string) {
  const [loaded, ended] = [new Gate(), new Gate()];
  const site = await withCart(undefined, {
    store,
    handlers: {
      '/slow': async (ctx, sessions) => {
        ctx.session.cart.push('pen');
        ctx.session.name = 'Ada';
        loaded.open();
        await ended.passed;
        await sessions.of(ctx).logIn('ada');
      },
    },
  });
  const { ada } = site;
  if (first) await ada.get(first);
  const tab = twinOf(ada);
  const slow = ada.get('/slow');
  await loaded.passed;
  await tab.get(other);
  ended.open();
  const { status, setCookie } = await slow;
  expect([status, setCookie.length]).to.deep.equal([200, 1]);
  return site;
}

describe('logIn(owner, options)', () => {
  afterEach(tidy);

  it('with a replaced id goes on from what the session that took its place holds by now', async () => {
    const { ada } = await withCart(undefined, {
      handlers: { '/more': (ctx) => void ctx.session.cart.push('pen') },
    });
    const late = twinOf(ada);
    await ada.get('/ada');
    await ada.get('/more');
    await ada.get('/notes');
    await late.get('/ada');
    expect((await late.get('/read')).json().data.cart).to.deep.equal(['book', 'pen']);
    expect((await late.get('/notes')).json()).to.deep.equal([]);
  });

  it('with a replaced id starts empty where the session that took its place has ended', async () => {
    const { ada } = await withCart();
    const late = twinOf(ada);
    await ada.get('/ada');
    await ada.get('/out');
    await late.get('/ada');
    expect((await late.get('/read')).json()).to.deep.equal({ data: {}, owner: 'ada' });
  });

  it('takes a number, which counts as a string', async () => {
    const site = await createSite({
      '/': async (ctx, sessions) => {
        await sessions.of(ctx).logIn(7);
        return sessions.of(ctx).owner;
      },
      '/read': (ctx, sessions) => sessions.of(ctx).owner,
    });
    const ada = site.visitor();
    expect((await ada.get('/')).json()).to.equal('7');
    expect((await ada.get('/read')).json()).to.equal('7');
    expect(await site.sessions.list(7)).to.have.length(1);
    expect(await site.sessions.list('7')).to.have.length(1);
  });

  it('refuses what is no owner, and invalid or unknown options, and stores nothing', async () => {
    const store = stubStore();
    await inRequest(
      async (ctx, { of }) => {
        for (const owner of ['', null, undefined, Number.NaN, Infinity, 5n, true, {}, ['a'], '\ud800'])
          expect(await errorOf(() => of(ctx).logIn(owner as never)), String(owner)).to.be.instanceOf(OptionError);
        for (const options of [
          { label: 1 },
          { keep: 'cart' },
          { maxAge: 0 },
          { maxAge: 3600 },
          { maxage: 3_600_000 },
          null,
        ])
          expect(await errorOf(() => of(ctx).logIn('ada', options as never)), JSON.stringify(options)).to.be.instanceOf(
            OptionError,
          );
      },
      { store: asStore(store), cookie: SOME_COOKIE },
    );
    expect([store.create.callCount, store.update.callCount, store.destroy.callCount]).to.deep.equal([0, 0, 0]);
  });

  it('takes options that are undefined, and an empty label, as not given', async () => {
    const site = await createSite({
      '/': (ctx, { of }) => of(ctx).logIn('ada', { label: ctx.get('x-label'), maxAge: undefined, keep: undefined }),
    });
    expect((await site.visitor().get('/')).status).to.equal(200);
    expect((await site.sessions.list('ada')).map(({ label }) => label)).to.deep.equal([undefined]);
  });

  it('over plain http, where the store is secure, is an InsecureError, and stores nothing', async () => {
    const store = new MemoryStore({ secure: true });
    const writes = observe(store);
    const { setCookie } = await inRequest(
      async (ctx, { of }) => expect(await errorOf(() => of(ctx).logIn('ada'))).to.be.instanceOf(InsecureError),
      { store },
    );
    expect([setCookie, writes]).to.deep.equal([[], []]);
  });

  it('outside the cookie’s path is a PathError', async () => {
    await inRequest(
      async (ctx, { of }) => expect(await errorOf(() => of(ctx).logIn('ada'))).to.be.instanceOf(PathError),
      { path: '/admin' },
    );
  });

  it('once the headers are sent is a LateError, and the old id stays', async () => {
    const { ada } = await withCart(undefined, {
      handlers: {
        '/late': async (ctx, { of }) => {
          ctx.session.cart;
          ctx.respond = false;
          ctx.res.flushHeaders();
          const { code } = await errorOf(() => of(ctx).logIn('ada'));
          ctx.res.end(code);
        },
      },
    });
    expect((await ada.get('/late')).body).to.equal('WSESSION_LATE');
    expect((await ada.get('/read')).json()).to.deep.equal({ data: CART });
  });

  for (const method of ['create', 'destroy'] as const) {
    it(`is a 503 where the store's ${method}() fails: the visitor keeps the old id, and its content`, async () => {
      const store = new MemoryStore();
      const { ada } = await withCart(undefined, { store });
      stub(store, method).throws(new Error('down'));
      const { status, setCookie } = await ada.get('/ada');
      expect([status, setCookie]).to.deep.equal([503, []]);
      expect((await ada.get('/read')).json()).to.deep.equal({ data: CART });
    });
  }

  it('carries over what parallel requests stored meanwhile, of an anonymous visitor', async () => {
    const site = await withCart((ctx) => void (ctx.session.mine = 1), {
      handlers: {
        '/slow': async (ctx, { of }) => {
          ctx.session.mine = 1;
          await other.get('/theirs');
          await of(ctx).logIn('ada', { keep: ['cart'] });
        },
        '/theirs': (ctx, { of }) => {
          ctx.session.theirs = 1;
          ctx.session.cart.push('pen');
          of(ctx).flash('note', 'second');
        },
      },
    });
    const { ada } = site;
    const other = twinOf(ada);
    await ada.get('/slow');
    expect((await ada.get('/read')).json().data).to.deep.equal({ cart: ['book', 'pen'], mine: 1 });
    expect((await ada.get('/notes')).json()).to.deep.equal(['welcome', 'second']);
  });

  it('of another owner’s session carries nothing over of what parallel requests stored', async () => {
    const site = await withCart(undefined, {
      handlers: {
        '/slow': async (ctx, { of }) => {
          ctx.session.cart;
          await other.get('/theirs');
          await of(ctx).logIn('bob');
        },
        '/theirs': (ctx) => void (ctx.session.theirs = 1),
      },
    });
    const { ada } = site;
    await ada.get('/ada');
    const other = twinOf(ada);
    await ada.get('/slow');
    expect((await ada.get('/read')).json()).to.deep.equal({ data: {}, owner: 'bob' });
  });

  it('that nobody awaits is done before the response is sent', async () => {
    const { ada } = await withCart(undefined, {
      store: jittered(new MemoryStore()),
      handlers: { '/floating': (ctx, { of }) => void of(ctx).logIn('ada') },
    });
    expect((await ada.get('/floating')).setCookie).to.have.length(1);
    expect((await ada.get('/read')).json().owner).to.equal('ada');
  });
});

describe('logOut()', () => {
  afterEach(tidy);

  it('ends the session, and has the browser delete the cookie', async () => {
    for (const [, createStore] of STORES) {
      const { ada } = await withCart(undefined, { store: createStore() });
      await ada.get('/ada');
      const old = twinOf(ada);
      const { setCookie } = await ada.get('/out');
      expect(setCookie).to.have.length(1);
      expect(ada.jar.size).to.equal(0);
      expect((await old.get('/read')).json()).to.deep.equal({ data: {} });
    }
  });

  it('has ended the session once awaited; what is assigned afterwards belongs to a new one, without an owner', async () => {
    const site = await withCart(undefined, {
      handlers: {
        '/switch': async (ctx, sessions) => {
          await sessions.of(ctx).logOut();
          const left = await sessions.list('ada');
          ctx.session.fresh = left.length;
          return read(ctx, sessions);
        },
      },
    });
    const { ada } = site;
    await ada.get('/ada');
    expect(await site.sessions.list('ada')).to.have.length(1);
    expect((await ada.get('/switch')).json()).to.deep.equal({ data: { fresh: 0 } });
    expect((await ada.get('/read')).json()).to.deep.equal({ data: { fresh: 0 } });
  });

  it('may be followed by a login', async () => {
    for (const [, createStore] of STORES) {
      const { ada } = await withCart(undefined, {
        store: createStore(),
        handlers: {
          '/switch': async (ctx, { of }) => {
            await of(ctx).logOut();
            await of(ctx).logIn('bob');
          },
        },
      });
      await ada.get('/ada');
      expect((await ada.get('/switch')).setCookie).to.have.length(1);
      expect((await ada.get('/read')).json()).to.deep.equal({ data: {}, owner: 'bob' });
    }
  });

  it('without a session, and a second time, is no error', async () => {
    const { visitor } = await withCart(undefined, {
      handlers: {
        '/twice': async (ctx, { of }) => {
          await of(ctx).logOut();
          await of(ctx).logOut();
        },
      },
    });
    const { status, setCookie } = await visitor().get('/twice');
    expect([status, setCookie]).to.deep.equal([200, []]);
  });

  it('rejects while the store is down', async () => {
    const store = stubStore();
    store.destroy.rejects(new Error('down'));
    await inRequest(
      async (ctx, { of }) => {
        expect((await errorOf(() => of(ctx).logOut())).code).to.equal('WSESSION_UNAVAILABLE');
        store.destroy.resolves({ outcome: 'none' });
        await of(ctx).logOut();
      },
      { store: asStore(store), cookie: SOME_COOKIE },
    );
  });
});
