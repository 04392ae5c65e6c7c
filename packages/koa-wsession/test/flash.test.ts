import { expect } from 'chai';
import type Koa from 'koa';
import { GoneError, OptionError, type Sessions } from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import { spy, stub } from 'sinon';
import {
  asStore,
  createSite,
  errorOf,
  type Handler,
  inRequest,
  OpenStore,
  observe,
  recordOf,
  type SiteOptions,
  SOME_COOKIE,
  stubStore,
  tidy,
} from './helpers.js';

const handlers: Record<string, Handler> = {
  '/': (ctx) => void (ctx.session.user = 'ada'),
  '/leave': (ctx, sessions) => sessions.of(ctx).flash('note', String(ctx.query.text ?? 'x')),
  '/take': (ctx, sessions) => sessions.of(ctx).takeFlash('note'),
};

describe('sessions.of(ctx).flash(key, message)', () => {
  afterEach(tidy);

  it('leaves a message for a later request, in value and type', async () => {
    const messages = [0, '', false, null, 'text', 1n, new Date(5), new Map([['a', new Set([1])]]), [1, [2]]];
    const seen: unknown[] = [];
    const { visitor } = await createSite({
      '/set': (ctx, sessions) => {
        for (const [i, message] of messages.entries()) sessions.of(ctx).flash(`m${i}`, message);
      },
      '/get': async (ctx, sessions) => {
        for (const i of messages.keys()) seen.push(...(await sessions.of(ctx).takeFlash(`m${i}`)));
      },
    });
    const ada = visitor();
    for (const path of ['/set', '/get', '/get']) await ada.get(path);
    expect(seen).to.deep.equal(messages);
  });

  it('keeps several messages under one key, in the order in which they were left', async () => {
    const { visitor } = await createSite({
      ...handlers,
      '/many': (ctx, sessions) => {
        for (let i = 0; i < 40; i++) sessions.of(ctx).flash('note', `m${i}`);
        sessions.of(ctx).flash('notes', 'another key');
      },
    });
    const ada = visitor();
    await ada.get('/leave?text=first');
    await ada.get('/many');
    await ada.get('/leave?text=last');
    const many = Array.from({ length: 40 }, (_, i) => `m${i}`);
    expect((await ada.get('/take')).json()).to.deep.equal(['first', ...many, 'last']);
  });

  it('in parallel requests leaves all of them', async () => {
    const { visitor } = await createSite(handlers);
    const ada = visitor();
    await ada.get('/');
    const texts = Array.from({ length: 20 }, (_, i) => `m${i}`);
    await Promise.all(texts.map((text) => ada.get(`/leave?text=${text}`)));
    expect((await ada.get('/take')).json()).to.have.members(texts);
  });

  it('is no key of the session, whatever its name', async () => {
    const names = ['user', '__proto__', '', 'flash:user', 'save'];
    const { visitor } = await createSite({
      '/': (ctx, sessions) => {
        for (const name of names) sessions.of(ctx).flash(name, `message of ${name}`);
        ctx.session.user = 'ada';
      },
      '/get': (ctx) => ({ ...ctx.session }),
      '/take': (ctx, sessions) => Promise.all(names.map((name) => sessions.of(ctx).takeFlash(name))),
    });
    const ada = visitor();
    await ada.get('/');
    expect((await ada.get('/get')).json()).to.deep.equal({ user: 'ada' });
    expect((await ada.get('/take')).json()).to.deep.equal(names.map((name) => [`message of ${name}`]));
    expect((await ada.get('/get')).json()).to.deep.equal({ user: 'ada' });
  });

  it('creates a session for a new visitor', async () => {
    const { setCookie } = await inRequest((ctx, sessions) => sessions.of(ctx).flash('note', 'x'));
    expect(setCookie).to.have.length(1);
  });

  it('survives ctx.session = {…} and regenerate(), and ends with the session', async () => {
    const { visitor } = await createSite({
      ...handlers,
      '/replace': (ctx) => void (ctx.session = { a: 1 }),
      '/regenerate': (ctx) => ctx.session.regenerate(),
      '/end': (ctx, sessions) => {
        ctx.session = null;
        return sessions.of(ctx).takeFlash('note');
      },
    });
    const ada = visitor();
    for (const path of ['/leave', '/replace', '/regenerate']) await ada.get(path);
    expect((await ada.get('/take')).json()).to.deep.equal(['x']);
    await ada.get('/leave');
    expect((await ada.get('/end')).json()).to.deep.equal([]);
    expect((await ada.get('/take')).json()).to.deep.equal([]);
  });

  it('is delivered after an error, and after a redirect', async () => {
    const { visitor } = await createSite({
      ...handlers,
      '/fail': (ctx, sessions) => {
        sessions.of(ctx).flash('note', 'wrong password');
        ctx.throw(401);
      },
      '/redirect': (ctx, sessions) => {
        sessions.of(ctx).flash('note', 'saved');
        ctx.redirect('/take');
      },
    });
    const ada = visitor();
    expect((await ada.get('/fail')).status).to.equal(401);
    expect((await ada.get('/take')).json()).to.deep.equal(['wrong password']);
    expect((await ada.get('/redirect')).status).to.equal(302);
    expect((await ada.get('/take')).json()).to.deep.equal(['saved']);
  });

  it('refuses undefined, which would look like a message, and a key that is no string without NUL', () =>
    inRequest(async (ctx, sessions) => {
      const all = sessions.of(ctx);
      expect(() => all.flash('note', undefined)).to.throw(OptionError, /message of flash\(\).*takeFlash/);
      for (const key of ['a\0b', 5, undefined, null]) {
        expect(() => all.flash(key as string, 'x')).to.throw(OptionError, 'key of flash()');
        expect(await errorOf(() => all.takeFlash(key as string))).to.be.instanceOf(OptionError);
      }
    }));
});

describe('sessions.of(ctx).takeFlash(key)', () => {
  afterEach(tidy);

  it('takes what the same request left, and what is left afterwards stays', async () => {
    const { visitor } = await createSite({
      ...handlers,
      '/both': async (ctx, sessions) => {
        sessions.of(ctx).flash('note', 'b');
        const taken = await sessions.of(ctx).takeFlash('note');
        sessions.of(ctx).flash('note', 'c');
        return taken;
      },
    });
    const ada = visitor();
    await ada.get('/leave?text=a');
    expect((await ada.get('/both')).json()).to.deep.equal(['a', 'b']);
    expect((await ada.get('/take')).json()).to.deep.equal(['c']);
  });

  it('returns the messages in the order in which they were left, whatever the order of the entries', async () => {
    const store = stubStore();
    store.load.callsFake(() => recordOf({ '\0flash:note\x002': '"second"', '\0flash:note\x001': '"first"' }));
    const { body } = await inRequest((ctx, sessions) => sessions.of(ctx).takeFlash('note'), {
      store: asStore(store),
      cookie: SOME_COOKIE,
    });
    expect(JSON.parse(body)).to.deep.equal(['first', 'second']);
  });

  it('where there is none returns an empty list, and neither writes nor creates a record', async () => {
    const store = new MemoryStore();
    const order = observe(store);
    const { visitor } = await createSite(handlers, { store });
    const fresh = await visitor().get('/take');
    expect([fresh.json(), fresh.setCookie, order]).to.deep.equal([[], [], []]);
    const ada = visitor();
    await ada.get('/');
    order.length = 0;
    const known = await ada.get('/take');
    expect([known.json(), known.setCookie, order]).to.deep.equal([[], [], []]);
  });

  it('of a message that a new visitor got in the same request creates no record', async () => {
    const store = new MemoryStore();
    const order = observe(store);
    const { setCookie, body } = await inRequest(
      (ctx, sessions) => {
        sessions.of(ctx).flash('note', 'x');
        return sessions.of(ctx).takeFlash('note');
      },
      { store },
    );
    expect([body, setCookie, order]).to.deep.equal(['["x"]', [], []]);
  });

  it('removes the messages in one call to the store, with whatever else changed', async () => {
    const store = new MemoryStore();
    const { visitor } = await createSite(
      {
        ...handlers,
        '/take': (ctx, sessions) => {
          ctx.session.seen = true;
          return sessions.of(ctx).takeFlash('note');
        },
        '/get': (ctx) => ({ ...ctx.session }),
      },
      { store },
    );
    const ada = visitor();
    for (const text of ['a', 'b']) await ada.get(`/leave?text=${text}`);
    const update = spy(store, 'update');
    expect((await ada.get('/take')).json()).to.deep.equal(['a', 'b']);
    expect(update.callCount).to.equal(1);
    const { set, delete: removed } = update.firstCall.args[1];
    expect([[...set.keys()], removed.length]).to.deep.equal([['seen'], 2]);
    expect((await ada.get('/get')).json()).to.deep.equal({ seen: true });
  });

  it('in parallel requests takes each message once', async () => {
    const { visitor } = await createSite(handlers);
    const ada = visitor();
    const texts = Array.from({ length: 5 }, (_, i) => `m${i}`);
    for (const text of texts) await ada.get(`/leave?text=${text}`);
    const replies = await Promise.all(Array.from({ length: 20 }, () => ada.get('/take')));
    expect(replies.flatMap((reply) => reply.json())).to.deep.equal(texts);
  });

  it('in parallel requests of several processes takes each message once', async () => {
    const store = new MemoryStore();
    // Each middleware has turns of its own, as each process has.
    const sites = await Promise.all([1, 2, 3].map(() => createSite(handlers, { store })));
    const visitors = sites.map((site) => site.visitor());
    const [ada] = visitors as [(typeof visitors)[0]];
    const texts = Array.from({ length: 5 }, (_, i) => `m${i}`);
    for (const text of texts) await ada.get(`/leave?text=${text}`);
    const headers = { cookie: ada.cookie };
    const replies = await Promise.all(
      visitors.flatMap((one) => Array.from({ length: 7 }, () => one.get('/take', { headers }))),
    );
    expect(replies.flatMap((reply) => reply.json()).sort()).to.deep.equal(texts);
  });

  for (const [what, method, headers] of [
    ['HEAD', 'HEAD', {}],
    ['Sec-Purpose: prefetch', 'GET', { 'sec-purpose': 'prefetch' }],
    ['Sec-Purpose: prefetch;prerender', 'GET', { 'sec-purpose': 'prefetch;prerender' }],
    ['Purpose: prefetch', 'GET', { purpose: 'prefetch' }],
  ] as const)
    it(`in a request with ${what} returns the messages without taking them`, async () => {
      const store = new MemoryStore();
      const seen: unknown[] = [];
      const { visitor } = await createSite(
        {
          ...handlers,
          '/take': async (ctx, sessions) => {
            seen.push(await sessions.of(ctx).takeFlash('note'));
          },
        },
        { store },
      );
      const ada = visitor();
      for (const text of ['a', 'b']) await ada.get(`/leave?text=${text}`);
      const order = observe(store);
      const { setCookie } = await ada.request(method, '/take', { headers });
      expect([setCookie, order]).to.deep.equal([[], []]);
      await ada.get('/take');
      await ada.get('/take');
      expect(seen).to.deep.equal([['a', 'b'], ['a', 'b'], []]);
    });

  it('that fails leaves the messages for the next request', async () => {
    const store = new MemoryStore();
    const { visitor } = await createSite(handlers, { store });
    const ada = visitor();
    await ada.get('/leave');
    const update = stub(store, 'update').throws(new Error('down'));
    expect((await ada.get('/take')).status).to.equal(503);
    update.restore();
    expect((await ada.get('/take')).json()).to.deep.equal(['x']);
    expect((await ada.get('/take')).json()).to.deep.equal([]);
  });

  it('has taken them for good once it is awaited, whatever fails afterwards', async () => {
    const { visitor } = await createSite({
      ...handlers,
      '/bad': async (ctx, sessions) => {
        await sessions.of(ctx).takeFlash('note');
        throw new Error('mine');
      },
    });
    const ada = visitor();
    await ada.get('/leave');
    expect((await ada.get('/bad')).status).to.equal(500);
    expect((await ada.get('/take')).json()).to.deep.equal([]);
  });

  it('of a session that ended meanwhile rejects with a GoneError, and shows nothing', async () => {
    const store = new MemoryStore();
    let caught: unknown;
    const take = async (ctx: Koa.Context, sessions: Sessions) => {
      stub(store, 'update').returns({ outcome: 'gone' });
      caught = await errorOf(() => sessions.of(ctx).takeFlash('note'));
    };
    const { visitor } = await createSite({ ...handlers, '/take': take }, { store });
    const ada = visitor();
    await ada.get('/leave');
    await ada.get('/take');
    expect(caught).to.be.instanceOf(GoneError);
  });

  it('works with a store that seals, and in an opened session', async () => {
    const options: SiteOptions = { store: new OpenStore() };
    const { visitor } = await createSite(handlers, options);
    const ada = visitor();
    for (const text of ['a', 'b']) await ada.get(`/leave?text=${text}`);
    expect((await ada.get('/take')).json()).to.deep.equal(['a', 'b']);
    expect((await ada.get('/take')).json()).to.deep.equal([]);

    const site = await createSite({
      ...handlers,
      '/open': async (ctx, sessions) => sessions.of(await sessions.open(ctx.req)).takeFlash('note'),
    });
    const bob = site.visitor();
    await bob.get('/leave');
    expect((await bob.get('/open')).json()).to.deep.equal(['x']);
    expect((await bob.get('/take')).json()).to.deep.equal([]);
  });
});
