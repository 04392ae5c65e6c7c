import { expect } from 'chai';
import type Koa from 'koa';
import { GoneError, UnavailableError } from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import type { SessionRecord, Store } from 'koa-wsession/store';
import { assert, stub } from 'sinon';
import {
  asStore,
  createSite,
  destroyed,
  errorOf,
  Gate,
  type Handler,
  inRequest,
  MarkingStore,
  OpenStore,
  observe,
  recordOf,
  SOME_COOKIE,
  type StubStore,
  stubStore,
  tidy,
  twinOf,
} from './helpers.js';

const handlers: Record<string, Handler> = {
  '/login': async (ctx) => {
    ctx.session.user = 'ada';
    await ctx.session.regenerate();
  },
  '/visit': (ctx) => void (ctx.session.visited = true),
  '/get': (ctx) => ({ ...ctx.session }),
};

function idOf(setCookie: readonly string[]): string | undefined {
  return /^wsession=([\w-]+);/.exec(setCookie[0] ?? '')?.[1];
}

/** What `destroy` returns where another request wrote to the record since. */
function changed(entries: Record<string, string>, revision: number) {
  return { outcome: 'changed', record: { ...recordOf(entries), revision } };
}

/** The data of a record, without the entries of the core. */
function dataOf({ entries }: Pick<SessionRecord, 'entries'>) {
  return Object.fromEntries([...entries].filter(([key]) => !key.startsWith('\0')));
}

describe('regenerate()', () => {
  afterEach(tidy);

  it('makes the new record before it ends the old one, which never gets what was assigned', async () => {
    const store = stubStore();
    store.load.callsFake(() => recordOf({ n: '1', gone: '2' }, Date.now() - 5000));
    store.destroy.callsFake(() => destroyed({ n: '1', gone: '2' }));
    const reply = await inRequest(
      async (ctx) => {
        ctx.session.user = 'ada';
        delete ctx.session.gone;
        await ctx.session.regenerate();
        expect({ ...ctx.session }).to.deep.equal({ n: 1, user: 'ada' });
        expect(ctx.session.isNew).to.equal(false);
      },
      { store: asStore(store), cookie: SOME_COOKIE },
    );
    const [oldKey] = store.load.firstCall.args;
    const [newKey, record] = store.create.firstCall.args;
    const [ended, { replaced, revision }] = store.destroy.firstCall.args;
    expect(store.create.calledBefore(store.destroy)).to.equal(true);
    expect([store.destroy.callCount, ended, replaced?.by, revision]).to.deep.equal([1, oldKey, newKey, 1]);
    expect(replaced?.until).to.be.within(Date.now() + 59_000, Date.now() + 60_000);
    expect(newKey).to.not.equal(oldKey);
    expect(dataOf(record)).to.deep.equal({ n: '1', user: '"ada"' });
    expect(record.createdAt).to.be.within(Date.now() - 6000, Date.now() - 4000);
    expect(record.expiresAt).to.be.within(Date.now() + 3_590_000, Date.now() + 3_600_000);
    expect(store.update.callCount).to.equal(0);
    expect(idOf(reply.setCookie)).to.match(/^[\w-]{32}$/);
    expect(SOME_COOKIE).to.not.include(idOf(reply.setCookie));
  });

  it('keeps the object', async () => {
    await inRequest(
      async (ctx) => {
        const { session } = ctx;
        await session.regenerate();
        session.later = 1;
        expect(ctx.session).to.equal(session);
      },
      { store: asStore(stubStore()), cookie: SOME_COOKIE },
    );
  });

  it('lets what comes afterwards go to the new record', async () => {
    const store = stubStore();
    await inRequest(
      async (ctx) => {
        await ctx.session.regenerate();
        ctx.session.later = 1;
      },
      { store: asStore(store), cookie: SOME_COOKIE },
    );
    const [key, changes] = store.update.firstCall.args;
    expect(key).to.equal(store.create.firstCall.args[0]);
    expect(Object.fromEntries(changes.set)).to.deep.equal({ later: '1' });
  });

  it('keeps what is assigned while it is in progress, and stores it in the new record', async () => {
    const store = new MemoryStore();
    const { visitor } = await createSite(
      {
        ...handlers,
        '/slow': async (ctx) => {
          const { arrived, released } = holdCreate(store);
          const pending = ctx.session.regenerate();
          await arrived.passed;
          ctx.session.visited = 'meanwhile';
          released.open();
          await pending;
        },
      },
      { store },
    );
    const ada = visitor();
    await ada.get('/visit');
    await ada.get('/slow');
    expect((await ada.get('/get')).json()).to.deep.equal({ visited: 'meanwhile' });
  });

  it('of a session without a record asks the store for nothing: it gets its id with its record', async () => {
    const store = stubStore();
    store.load.returns(undefined);
    const { setCookie } = await inRequest((ctx) => ctx.session.regenerate(), {
      store: asStore(store),
      cookie: SOME_COOKIE,
    });
    expect([store.create.callCount, store.destroy.callCount, setCookie]).to.deep.equal([0, 0, []]);
    const { visitor } = await createSite(handlers);
    const ada = visitor();
    const planted = 'B'.repeat(32);
    ada.jar.set('wsession', planted);
    await ada.get('/login');
    expect(ada.jar.get('wsession')).to.match(/^[\w-]{32}$/);
    expect(ada.jar.get('wsession')).to.not.equal(planted);
    expect((await ada.get('/get')).json()).to.deep.equal({ user: 'ada' });
  });

  it('twice leaves one record', async () => {
    const store = new MemoryStore();
    const order = observe(store);
    const { visitor } = await createSite(
      {
        ...handlers,
        '/twice': async (ctx) => {
          await ctx.session.regenerate();
          await ctx.session.regenerate();
        },
      },
      { store },
    );
    const ada = visitor();
    await ada.get('/visit');
    const { setCookie } = await ada.get('/twice');
    expect(order).to.deep.equal(['create', 'create', 'destroy', 'create', 'destroy']);
    expect(setCookie).to.have.length(1);
    expect((await ada.get('/get')).json()).to.deep.equal({ visited: true });
  });

  it('with a value that can not be stored changes nothing', async () => {
    const store = stubStore();
    const { status } = await inRequest(
      async (ctx) => {
        ctx.session.bad = { at: () => 1 };
        expect((await errorOf(() => ctx.session.regenerate())).code).to.equal('WSESSION_VALUE');
        delete ctx.session.bad;
      },
      { store: asStore(store), cookie: SOME_COOKIE },
    );
    expect([status, store.create.callCount, store.destroy.callCount]).to.deep.equal([200, 0, 0]);
  });

  it('delivers the new cookie on an error that comes after it', async () => {
    const { visitor } = await createSite({
      ...handlers,
      '/fail': async (ctx) => {
        await ctx.session.regenerate();
        ctx.throw(418);
      },
    });
    const ada = visitor();
    await ada.get('/visit');
    const before = ada.jar.get('wsession');
    expect((await ada.get('/fail')).status).to.equal(418);
    expect(ada.jar.get('wsession')).to.not.equal(before);
    expect((await ada.get('/get')).json()).to.deep.equal({ visited: true });
  });

  it('that nobody awaits and that fails is the response, or an error event', async () => {
    const store = stubStore();
    store.create.rejects(new Error('down'));
    const { visitor } = await createSite({ '/': (ctx) => void ctx.session.regenerate() }, { store: asStore(store) });
    const { status } = await visitor().get('/', { headers: { cookie: SOME_COOKIE } });
    expect(status).to.equal(503);
  });

  it('with a store that seals gives a new token, and ends the old one', async () => {
    const store = new OpenStore();
    const { visitor } = await createSite(handlers, { store });
    const ada = visitor();
    await ada.get('/visit');
    const old = twinOf(ada);
    store.calls.length = 0;
    await ada.get('/login');
    expect(store.calls).to.deep.equal(['load', 'create', 'destroy']);
    expect((await ada.get('/get')).json()).to.deep.equal({ visited: true, user: 'ada' });
    expect((await old.get('/get')).json()).to.deep.equal({});
  });
});

/** Holds the next `create` of the store. */
function holdCreate(store: Store): { arrived: Gate; released: Gate } {
  const gates = { arrived: new Gate(), released: new Gate() };
  const create = store.create.bind(store);
  store.create = (async (...args: Parameters<typeof create>) => {
    store.create = create;
    gates.arrived.open();
    await gates.released.passed;
    return create(...args);
  }) as typeof create;
  return gates;
}

describe('regenerate(), while other requests write', () => {
  afterEach(tidy);

  it('carries over what they wrote, changed and deleted, except for the keys of this request, before it ends the old id', async () => {
    const store = stubStore();
    store.load.callsFake(() => recordOf({ same: '1', theirs: '1', mine: '1', dropped: '1', kept: '1' }));
    const theirs = { same: '1', theirs: '2', mine: '2', added: '3', kept: '9', alsoMine: '9' };
    store.destroy
      .onFirstCall()
      .returns(changed(theirs, 2))
      .onSecondCall()
      .callsFake(() => destroyed(theirs));
    await inRequest(
      async (ctx) => {
        const { session } = ctx;
        expect(session.theirs).to.equal(1);
        session.mine = 5;
        session.alsoMine = 6;
        delete session.kept;
        await session.regenerate();
        expect({ ...session }).to.deep.equal({ same: 1, theirs: 2, mine: 5, alsoMine: 6, added: 3 });
      },
      { store: asStore(store), cookie: SOME_COOKIE },
    );
    expect(store.update.callCount).to.equal(1);
    const [key, { set, delete: removed }] = store.update.firstCall.args;
    expect(key).to.equal(store.create.firstCall.args[0]);
    expect(Object.fromEntries(set)).to.deep.equal({ theirs: '2', added: '3' });
    expect(removed).to.deep.equal(['dropped']);
    expect(store.destroy.args.map(([, { revision }]) => revision)).to.deep.equal([1, 2]);
    assert.callOrder(store.create, store.destroy, store.update, store.destroy);
  });

  it('carries over that others only deleted', async () => {
    const store = stubStore();
    store.load.callsFake(() => recordOf({ kept: '1', dropped: '1' }));
    store.destroy
      .onFirstCall()
      .returns(changed({ kept: '1' }, 2))
      .onSecondCall()
      .callsFake(() => destroyed({ kept: '1' }));
    await inRequest(
      async (ctx) => {
        await ctx.session.regenerate();
        expect({ ...ctx.session }).to.deep.equal({ kept: 1 });
      },
      { store: asStore(store), cookie: SOME_COOKIE },
    );
    expect(store.update.args.map(([, { delete: removed }]) => removed)).to.deep.equal([['dropped']]);
  });

  it('carries over what was written by another request since this one saved', async () => {
    const site = await createSite({
      ...handlers,
      '/slow': async (ctx) => {
        delete ctx.session.visited;
        await ctx.session.save();
        await other.get('/visit');
        await other.get('/more');
        await ctx.session.regenerate();
        return { ...ctx.session };
      },
      '/more': (ctx) => void (ctx.session.more = 1),
    });
    const ada = site.visitor();
    await ada.get('/visit');
    const other = twinOf(ada);
    const all = { visited: true, more: 1 };
    expect((await ada.get('/slow')).json()).to.deep.equal(all);
    expect((await ada.get('/get')).json()).to.deep.equal(all);
  });

  /** A store where, ahead of each attempt to end the record, another request writes to it; so many times. */
  function busyStore(rounds: number): MemoryStore {
    const store = new MemoryStore();
    const { destroy } = store;
    let round = 0;
    stub(store, 'destroy').callsFake((key, call) => {
      if (round++ < rounds)
        store.update(key, {
          set: new Map([[`key${round}`, String(round)]]),
          delete: [`key${round - 2}`],
          updatedAt: Date.now(),
          expiresAt: undefined,
        });
      return destroy.call(store, key, call);
    });
    return store;
  }

  for (const rounds of [1, 3, 20]) {
    it(`loses nothing of ${rounds} writes that come one by one`, async () => {
      const store = busyStore(rounds);
      const { visitor } = await createSite(handlers, { store });
      const ada = visitor();
      await ada.get('/visit');
      const old = twinOf(ada);
      expect((await ada.get('/login')).status).to.equal(200);
      const data = (await ada.get('/get')).json();
      // It doesn't go on for ever: the sixth attempt ends the old record in any case.
      const attempts = Math.min(rounds + 1, 6);
      expect(store.destroy).to.have.property('callCount', attempts);
      const written = Math.min(rounds, attempts);
      expect(data).to.deep.equal({
        visited: true,
        user: 'ada',
        [`key${written}`]: written,
        ...(written > 1 && { [`key${written - 1}`]: written - 1 }),
      });
      expect((await old.get('/get')).json()).to.deep.equal({});
    });
  }

  it('is a 503 where the carry-over fails: the old id stays valid with all that was acknowledged, and no new one is given out', async () => {
    const store = busyStore(1);
    const { visitor } = await createSite(handlers, { store });
    const ada = visitor();
    await ada.get('/visit');
    const { update } = store;
    stub(store, 'update')
      .callsFake((...args) => update.apply(store, args))
      .onSecondCall()
      .throws(new Error('down'));
    const { status, setCookie } = await ada.get('/login');
    expect([status, setCookie]).to.deep.equal([503, []]);
    expect((await ada.get('/get')).json()).to.deep.equal({ visited: true, key1: 1 });
  });

  it('is a 503 where the new record can’t be made, and leaves the old session as it was', async () => {
    const store = new MemoryStore();
    const { visitor } = await createSite(handlers, { store });
    const ada = visitor();
    await ada.get('/visit');
    stub(store, 'create').throws(new Error('down'));
    const { status, setCookie } = await ada.get('/login');
    expect([status, setCookie]).to.deep.equal([503, []]);
    expect((await ada.get('/get')).json()).to.deep.equal({ visited: true });
  });

  it('is a 503 where the old record can’t be ended, and gives no new id out', async () => {
    const store = new MemoryStore();
    const { visitor } = await createSite(handlers, { store });
    const ada = visitor();
    await ada.get('/visit');
    stub(store, 'destroy').throws(new Error('down'));
    const { status, setCookie } = await ada.get('/login');
    expect([status, setCookie]).to.deep.equal([503, []]);
    expect((await ada.get('/get')).json()).to.deep.equal({ visited: true });
  });

  it('that fails leaves the cookie of the old id, where save() set it in this request', async () => {
    const store = stubStore();
    store.destroy.rejects(new Error('down'));
    const { setCookie } = await inRequest(
      async (ctx) => {
        ctx.session.a = 1;
        await ctx.session.save();
        expect(await errorOf(() => ctx.session.regenerate())).to.be.instanceOf(UnavailableError);
      },
      { store: asStore(store), cookie: SOME_COOKIE },
    );
    expect(setCookie.map((line) => line.split(';')[0])).to.deep.equal([SOME_COOKIE]);
  });
});

describe('regenerate() of a session that ended meanwhile', () => {
  afterEach(tidy);

  async function attempt(handler: (ctx: Koa.Context, store: StubStore) => unknown) {
    const store = stubStore();
    store.destroy.returns({ outcome: 'none' });
    const { visitor } = await createSite({ '/': (ctx) => handler(ctx, store) }, { store: asStore(store) });
    return { store, reply: await visitor().get('/', { headers: { cookie: SOME_COOKIE } }) };
  }

  it('is a 409 that ends the new record again, and sets no cookie', async () => {
    const { store, reply } = await attempt((ctx) => ctx.session.regenerate());
    expect([reply.status, reply.setCookie]).to.deep.equal([409, []]);
    const [[oldKey], [newKey]] = [store.load.firstCall.args, store.create.firstCall.args];
    expect(store.destroy.args.map(([key]) => key)).to.deep.equal([oldKey, newKey]);
    expect(store.destroy.secondCall.args[1].replaced).to.equal(undefined);
    expect(store.update.callCount).to.equal(0);
  });

  it('is a 503 where the new record can’t be ended again, which nobody gets the id of', async () => {
    const { reply } = await attempt((ctx, { destroy }) => {
      destroy.onSecondCall().throws(new Error('down'));
      return ctx.session.regenerate();
    });
    expect([reply.status, reply.setCookie]).to.deep.equal([503, []]);
  });

  it('rejects with a GoneError, and so does what comes after it', async () => {
    const codes: unknown[] = [];
    const store = stubStore();
    store.destroy.returns({ outcome: 'none' });
    store.update.returns({ outcome: 'gone' });
    const site = await createSite(
      {
        '/': async (ctx, { of }) => {
          expect(await errorOf(() => ctx.session.regenerate())).to.be.instanceOf(GoneError);
          ctx.session.a = 1;
          codes.push((await errorOf(() => ctx.session.save())).code);
          codes.push((await errorOf(() => of(ctx).update('n', () => 5))).code);
        },
      },
      { store: asStore(store) },
    );
    const { status, setCookie } = await site.visitor().get('/', { headers: { cookie: SOME_COOKIE } });
    expect(codes).to.deep.equal(['WSESSION_GONE', 'WSESSION_GONE']);
    expect([status, setCookie, store.create.callCount]).to.deep.equal([409, [], 1]);
  });

  it('that was caught is a 409 all the same, where something was assigned before', async () => {
    const { reply } = await attempt(async (ctx, { update }) => {
      update.returns({ outcome: 'gone' });
      ctx.session.paid = true;
      await errorOf(() => ctx.session.regenerate());
    });
    expect(reply.status).to.equal(409);
  });
});

for (const [form, regenerate] of [
  ['regenerate()', (ctx) => ctx.session.regenerate()],
  ['regenerate(callback)', (ctx) => regenerated(ctx)],
] as ReadonlyArray<[string, (ctx: Koa.Context) => Promise<void>]>) {
  describe(form, () => {
    afterEach(tidy);

    it('once the headers are sent is a LateError, and the old id stays: the visitor could not be told', async () => {
      const store = stubStore();
      const { status } = await inRequest(
        async (ctx) => {
          ctx.session.n;
          ctx.respond = false;
          ctx.res.flushHeaders();
          expect((await errorOf(() => regenerate(ctx))).code).to.equal('WSESSION_LATE');
          ctx.res.end();
        },
        { store: asStore(store), cookie: SOME_COOKIE },
      );
      expect([status, store.create.callCount, store.destroy.callCount]).to.deep.equal([404, 0, 0]);
    });

    it('holds where the client sent the call that ends the old record twice', async () => {
      const store = stubStore();
      store.destroy.callsFake((_key, { replaced }) => ({ outcome: 'replaced', by: replaced?.by }));
      const { status } = await inRequest(regenerate, { store: asStore(store), cookie: SOME_COOKIE });
      expect(status).to.equal(200);
    });

    it('takes the cookie of one session, sent twice, for one', async () => {
      const { visitor } = await createSite({
        '/set': (ctx) => void (ctx.session.n = 1),
        '/': regenerate,
        '/late': (ctx) => void (ctx.session.late = true),
      });
      const ada = visitor();
      await ada.get('/set');
      const { cookie } = ada;
      expect((await visitor().get('/', { headers: { cookie: `${cookie}; ${cookie}` } })).status).to.equal(200);
      expect((await visitor().get('/late', { headers: { cookie } })).status, 'the old id').to.equal(409);
    });

    it('ends the further sessions that the visitor has cookies for', async () => {
      const { visitor } = await createSite({
        '/set': (ctx) => void (ctx.session.n = 1),
        '/': regenerate,
        '/get': (ctx) => ({ ...ctx.session }),
      });
      const [older, newer] = [visitor(), visitor()];
      for (const one of [older, newer]) await one.get('/set');
      await visitor().get('/', { headers: { cookie: `${older.cookie}; ${newer.cookie}` } });
      expect((await older.get('/get')).json()).to.deep.equal({});
    });

    it('fails with the store, and leaves the session as it was', async () => {
      const store = stubStore();
      store.destroy.rejects(new Error('down'));
      const { status, setCookie } = await inRequest(
        async (ctx) => {
          const { session } = ctx;
          expect(await errorOf(() => regenerate(ctx))).to.be.instanceOf(UnavailableError);
          expect([ctx.session === session, { ...session }]).to.deep.equal([true, { n: 1 }]);
        },
        { store: asStore(store), cookie: SOME_COOKIE },
      );
      expect([status, setCookie]).to.deep.equal([200, []]);
    });

    it('of a session that ended meanwhile fails with a GoneError', async () => {
      const store = stubStore();
      store.destroy.returns({ outcome: 'none' });
      const { setCookie } = await inRequest(
        async (ctx) => expect(await errorOf(() => regenerate(ctx))).to.be.instanceOf(GoneError),
        { store: asStore(store), cookie: SOME_COOKIE },
      );
      expect(setCookie).to.deep.equal([]);
    });
  });
}

/** The callback form as a promise. */
function regenerated({ session }: Koa.Context): Promise<void> {
  return new Promise((resolve, reject) => {
    const answer = session.regenerate((error?: Error | null) => (error ? reject(error) : resolve()));
    if (answer !== undefined) reject(new Error('it returned something'));
  });
}

for (const [kind, createStore] of [
  ['kept', () => new MemoryStore()],
  ['sealed', () => new MarkingStore()],
] as const) {
  describe(`regenerate(callback), as in Express, ${kind}`, () => {
    afterEach(tidy);

    const site = async (extra: Record<string, Handler>) => {
      const made = await createSite(
        {
          '/visit': async (ctx, { of }) => {
            await of(ctx).logIn('ada', { label: 'Firefox', maxAge: 120_000 });
            ctx.session.cart = ['book'];
            of(ctx).flash('note', 'x');
          },
          '/get': (ctx) => ({ ...ctx.session }),
          ...extra,
        },
        { store: createStore() },
      );
      const ada = made.visitor();
      await ada.get('/visit');
      return { ...made, ada };
    };

    it('drops the content, the owner, the messages and the lifetime; ctx.session is a new object', async () => {
      const { ada } = await site({
        '/': async (ctx, { of }) => {
          const former = ctx.session;
          ctx.session.assigned = 1;
          await regenerated(ctx);
          const { owner, label } = of(ctx);
          expect(ctx.session).to.not.equal(former);
          expect([{ ...ctx.session }, ctx.session.isNew, ctx.session.maxAge, owner, label]).to.deep.equal([
            {},
            true,
            undefined,
            undefined,
            undefined,
          ]);
          expect(await of(ctx).takeFlash('note')).to.deep.equal([]);
          ctx.session.fresh = 1;
        },
      });
      const old = twinOf(ada);
      const { status, setCookie } = await ada.get('/');
      expect([status, setCookie.length]).to.deep.equal([200, 1]);
      expect(setCookie[0]).to.match(/; Max-Age=3600;/);
      expect(ada.cookie).to.not.equal(old.cookie);
      expect((await ada.get('/get')).json()).to.deep.equal({ fresh: 1 });
      expect((await old.get('/get')).json()).to.deep.equal({});
    });

    it('leaves the former object its snapshot, which nothing of is stored', async () => {
      const { ada } = await site({
        '/': async (ctx) => {
          const former = ctx.session;
          former.assigned = 1;
          await regenerated(ctx);
          former.later = 2;
          ctx.session.fresh = 3;
          expect({ ...former }).to.deep.equal({ cart: ['book'], assigned: 1, later: 2 });
        },
      });
      expect((await ada.get('/')).status).to.equal(200);
      expect((await ada.get('/get')).json()).to.deep.equal({ fresh: 3 });
    });

    it('and save(callback) work as Passport calls them: merge what was there, add the user, save', async () => {
      const { ada } = await site({
        '/login': (ctx) => {
          const former = ctx.session;
          return new Promise<void>((resolve, reject) => {
            ctx.session.regenerate((error) => {
              if (error) return reject(error);
              Object.assign(ctx.session, former);
              ctx.session.passport = { user: 7 };
              ctx.session.save((failed) => (failed ? reject(failed) : resolve()));
            });
          });
        },
      });
      const old = twinOf(ada);
      expect((await ada.get('/login')).setCookie).to.have.length(1);
      expect((await ada.get('/get')).json()).to.deep.equal({ cart: ['book'], passport: { user: 7 } });
      expect((await old.get('/get')).json()).to.deep.equal({});
    });

    it('that nothing is stored after deletes the cookie', async () => {
      const { ada } = await site({ '/': (ctx) => regenerated(ctx) });
      await ada.get('/');
      expect(ada.jar.size).to.equal(0);
    });

    it('of a session without a record asks the store for nothing, and drops what was assigned', async () => {
      const { visitor } = await site({
        '/': async (ctx) => {
          const former = ctx.session;
          former.assigned = 1;
          await regenerated(ctx);
          expect([{ ...ctx.session }, { ...former }]).to.deep.equal([{}, { assigned: 1 }]);
        },
      });
      const { status, setCookie } = await visitor().get('/');
      expect([status, setCookie]).to.deep.equal([200, []]);
    });
  });
}
