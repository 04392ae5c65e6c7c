import { expect } from 'chai';
import type Koa from 'koa';
import { MemoryStore } from 'koa-wsession/memory';
import { stub } from 'sinon';
import {
  asStore,
  createSite,
  Gate,
  inRequest,
  observe,
  recordOf,
  SOME_COOKIE,
  stubStore,
  tidy,
} from './helpers.js';

describe('flash(key, value)', () => {
  afterEach(tidy);

  it('is there on the next request, once, in value and type', async () => {
    const messages = [0, '', false, null, 'text', 1n, new Date(5), new Map([['a', new Set([1])]]), [1, [2]]];
    const seen: unknown[] = [];
    const { visitor } = await createSite({
      '/set': (ctx) => {
        for (const [i, message] of messages.entries()) ctx.session.flash(`m${i}`, message);
      },
      '/get': (ctx) => void seen.push(messages.map((_, i) => ctx.session.flash(`m${i}`))),
    });
    const ada = visitor();
    for (const path of ['/set', '/get', '/get']) await ada.get(path);
    expect(seen).to.deep.equal([messages, messages.map(() => undefined)]);
  });

  it('can be taken in the same request, and set again: the last counts', async () => {
    const { visitor } = await createSite({
      '/': (ctx) => {
        const { session } = ctx;
        session.flash('note', 'first');
        const taken = session.flash('note');
        session.flash('note', 'second');
        session.flash('note', 'third');
        return [taken, session.flash('other') ?? null];
      },
      '/get': (ctx) => ctx.session.flash('note'),
    });
    const ada = visitor();
    expect((await ada.get('/')).json()).to.deep.equal(['first', null]);
    expect((await ada.get('/get')).json()).to.equal('third');
  });

  it('with undefined leaves undefined, which is no reading', async () => {
    const store = stubStore();
    await inRequest((ctx) => ctx.session.flash('note', undefined), {
      store: asStore(store),
      cookie: SOME_COOKIE,
    });
    expect([...store.update.firstCall.args[1].set.values()][0]).to.match(/^~\[\[1,-1\],"[\w-]{12}"\]$/);
  });

  it('is no key, whatever its name', async () => {
    const { visitor } = await createSite({
      '/': (ctx) => {
        const { session } = ctx;
        for (const key of ['user', '__proto__', '', '\0', 'flash:user']) {
          session[key] = `data of ${key}`;
          session.flash(key, `message of ${key}`);
        }
      },
      '/get': (ctx) => [Object.keys(ctx.session).length, ctx.session.user, 'user' in ctx.session],
      '/take': (ctx) => ['user', '__proto__', '', '\0', 'flash:user'].map((key) => ctx.session.flash(key)),
    });
    const ada = visitor();
    await ada.get('/');
    expect((await ada.get('/get')).json()).to.deep.equal([5, 'data of user', true]);
    expect((await ada.get('/take')).json()).to.deep.equal(
      ['user', '__proto__', '', '\0', 'flash:user'].map((key) => `message of ${key}`),
    );
    expect((await ada.get('/get')).json()).to.deep.equal([5, 'data of user', true]);
  });

  it('makes a session for a new visitor', async () => {
    const { setCookie } = await inRequest((ctx) => ctx.session.flash('note', 'x'));
    expect(setCookie).to.have.length(1);
  });

  it('survives ctx.session = {…} and regenerate(), and ends with the session', async () => {
    const { visitor } = await createSite({
      '/': (ctx) => ctx.session.flash('note', 'x'),
      '/replace': (ctx) => void (ctx.session = { a: 1 }),
      '/regenerate': (ctx) => ctx.session.regenerate(),
      '/get': (ctx) => ctx.session.flash('note') ?? null,
      '/end': (ctx) => {
        ctx.session = null;
        return ctx.session.flash('note') ?? null;
      },
    });
    const ada = visitor();
    for (const path of ['/', '/replace', '/regenerate']) await ada.get(path);
    expect((await ada.get('/get')).json()).to.equal('x');
    await ada.get('/');
    expect((await ada.get('/end')).json()).to.equal(null);
  });

  it('is delivered after an error, and a redirect', async () => {
    const { visitor } = await createSite({
      '/fail': (ctx) => {
        ctx.session.flash('note', 'wrong password');
        ctx.throw(401);
      },
      '/redirect': (ctx) => {
        ctx.session.flash('note', 'saved');
        ctx.redirect('/get');
      },
      '/get': (ctx) => ctx.session.flash('note') ?? null,
    });
    const ada = visitor();
    expect((await ada.get('/fail')).status).to.equal(401);
    expect((await ada.get('/get')).json()).to.equal('wrong password');
    expect((await ada.get('/redirect')).status).to.equal(302);
    expect((await ada.get('/get')).json()).to.equal('saved');
  });
});

describe('flash(key)', () => {
  afterEach(tidy);

  const handlers = {
    '/': (ctx: Koa.Context) => void (ctx.session.a = 1),
    '/get': (ctx: Koa.Context) => ctx.session.flash('note') ?? null,
  };

  it('where there is none writes nothing', async () => {
    const store = new MemoryStore();
    const { visitor } = await createSite(handlers, { store });
    const ada = visitor();
    await ada.get('/');
    const order = observe(store);
    expect((await ada.get('/get')).setCookie).to.deep.equal([]);
    expect(order).to.deep.equal([]);
  });

  it('removes the message from the store', async () => {
    const store = stubStore();
    store.load.callsFake(() => ({
      entries: new Map([['\0flash:note', '["mark","x"]']]),
      createdAt: Date.now(),
      expiresAt: Date.now() + 5000,
    }));
    const { body } = await inRequest((ctx) => ctx.session.flash('note'), {
      store: asStore(store),
      cookie: SOME_COOKIE,
    });
    expect(JSON.parse(body)).to.equal('x');
    const { set, delete: removed } = store.update.firstCall.args[1];
    expect([set.size, removed]).to.deep.equal([0, ['\0flash:note']]);
  });

  it('takes it for good once that is stored, whatever fails afterwards', async () => {
    const store = stubStore();
    store.load.callsFake(() => recordOf({ '\0flash:note': '["mark","x"]' })); // as a parallel request had read it
    store.update.onSecondCall().throws(new Error('down'));
    const { visitor } = await createSite(
      {
        '/take': async (ctx) => {
          expect(ctx.session.flash('note')).to.equal('x');
          await ctx.session.save();
          ctx.session.a = 1;
        },
        '/get': handlers['/get'],
      },
      { store: asStore(store) },
    );
    const ada = visitor();
    expect((await ada.get('/take', { headers: { cookie: SOME_COOKIE } })).status).to.equal(503);
    expect((await ada.get('/get', { headers: { cookie: SOME_COOKIE } })).json()).to.equal(null);
  });

  describe('that was taken by a request whose save failed', () => {
    /** A visitor who has a message, and a handler that takes it and says what it got. */
    async function withMessage() {
      const store = new MemoryStore();
      const taken: unknown[] = [];
      const gate: { wait: Promise<void> | undefined } = { wait: undefined };
      const site = await createSite(
        {
          '/': (ctx) => ctx.session.flash('note', 'x'),
          '/take': async (ctx) => {
            taken.push(ctx.session.flash('note'));
            await gate.wait;
          },
          '/bad': (ctx) => {
            taken.push(ctx.session.flash('note'));
            ctx.session.bad = new (class Bad {})();
          },
        },
        { store },
      );
      const ada = site.visitor();
      await ada.get('/');
      return { store, taken, ada, gate };
    }

    it('can be taken again: the store was down', async () => {
      const { store, taken, ada } = await withMessage();
      const update = stub(store, 'update').throws(new Error('down'));
      expect((await ada.get('/take')).status).to.equal(503);
      update.restore();
      for (let i = 0; i < 2; i++) expect((await ada.get('/take')).status).to.equal(200);
      expect(taken).to.deep.equal(['x', 'x', undefined]);
    });

    it('can be taken again: something could not be stored', async () => {
      const { taken, ada } = await withMessage();
      expect((await ada.get('/bad')).status).to.equal(500);
      await ada.get('/take');
      expect(taken).to.deep.equal(['x', 'x']);
    });

    it('and not where it had come away empty', async () => {
      const { taken, ada, gate } = await withMessage();
      const held = new Gate();
      gate.wait = held.passed;
      const first = ada.get('/take');
      while (taken.length < 1) await new Promise(setImmediate);
      expect((await ada.get('/bad')).status).to.equal(500);
      gate.wait = undefined;
      await ada.get('/take');
      held.open();
      expect((await first).status).to.equal(200);
      expect(taken).to.deep.equal(['x', undefined, undefined]);
    });

    it('and not by a request that ran beside one that could store it', async () => {
      const { taken, ada, gate } = await withMessage();
      const held = new Gate();
      gate.wait = held.passed;
      const first = ada.get('/take');
      const second = ada.get('/take');
      while (taken.length < 2) await new Promise(setImmediate);
      held.open();
      expect([(await first).status, (await second).status]).to.deep.equal([200, 200]);
      expect(taken).to.have.members(['x', undefined]);
    });
  });
});
