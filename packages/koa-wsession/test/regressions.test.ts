import { once } from 'node:events';
import { Readable } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect } from 'chai';
import Koa from 'koa';
import { openRecord, packRecord, session } from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import { spy, stub } from 'sinon';
import { Client } from 'testkit/http';
import {
  asStore,
  createSite,
  Gate,
  type Reported,
  recordOf,
  SOME_COOKIE,
  serveApp,
  stubStore,
  tidy,
} from './helpers.js';

/* What was wrong once, named by what went wrong. */
describe('never again:', () => {
  afterEach(tidy);

  const login = {
    '/login': (ctx: Koa.Context) => void Object.assign(ctx.session, { user: 'ada', n: 1 }),
    '/get': (ctx: Koa.Context) => ({ ...ctx.session }),
  };

  /** `create` of this store, from its second call on, waits. */
  function slowCreate(store: MemoryStore): { arrived: Gate; released: Gate } {
    const gates = { arrived: new Gate(), released: new Gate() };
    const create = store.create.bind(store);
    stub(store, 'create')
      .callsFake((async (...args: Parameters<typeof create>) => {
        gates.arrived.open();
        await gates.released.passed;
        return create(...args);
      }) as never)
      .onFirstCall()
      .callsFake(create);
    return gates;
  }

  for (const [how, end] of [
    ['destroy()', (ctx: Koa.Context) => ctx.session.destroy()],
    ['ctx.session = null', (ctx: Koa.Context) => void (ctx.session = null)],
  ] as const) {
    it(`${how} while regenerate() is at work leaves the session alive under its new id, cookie included`, async () => {
      const store = new MemoryStore();
      const { arrived, released } = slowCreate(store);
      const { visitor } = await createSite(
        {
          ...login,
          '/both': async (ctx) => {
            const pending = ctx.session.regenerate();
            await arrived.passed;
            const ending = end(ctx);
            released.open();
            await Promise.allSettled([pending, ending]);
          },
        },
        { store },
      );
      const ada = visitor();
      await ada.get('/login');
      const { status } = await ada.get('/both');
      expect([status, (await ada.get('/get')).json()]).to.deep.equal([200, {}]);
    });
  }

  it('a session ended while save() is at work can not be followed by a new one', async () => {
    const store = stubStore();
    const answer = new Gate<unknown>();
    store.update.onFirstCall().returns(answer.passed).onSecondCall().returns({ outcome: 'gone' });
    const { visitor } = await createSite(
      {
        '/': async (ctx) => {
          ctx.session.a = 1;
          const saving = ctx.session.save();
          await nextTurn();
          ctx.session = null;
          answer.open({ outcome: 'updated' });
          await saving;
          ctx.session.user = 'bob';
        },
      },
      { store: asStore(store) },
    );
    const { status } = await visitor().get('/', { headers: { cookie: SOME_COOKIE } });
    expect([status, store.create.callCount]).to.deep.equal([200, 1]);
  });

  it('destroy() while save() is creating the record leaves the new session alive', async () => {
    const store = new MemoryStore();
    const gate = new Gate();
    const { create } = store;
    stub(store, 'create').callsFake((async (...args: Parameters<typeof create>) => {
      await gate.passed;
      return create.apply(store, args);
    }) as never);
    const { visitor } = await createSite(
      {
        ...login,
        '/': async (ctx) => {
          ctx.session.secret = 1;
          const saving = ctx.session.save();
          await nextTurn();
          const ending = ctx.session.destroy();
          gate.open();
          await Promise.all([saving, ending]);
        },
      },
      { store },
    );
    const ada = visitor();
    await ada.get('/');
    expect((await ada.get('/get')).json()).to.deep.equal({});
  });

  it('update() asked for before destroy() resurrects a session after it', async () => {
    const { visitor } = await createSite({
      ...login,
      '/both': async (ctx) => {
        await Promise.all([ctx.session.update('n', (n = 0) => n + 1), ctx.session.destroy()]);
      },
    });
    const ada = visitor();
    await ada.get('/login');
    await ada.get('/both');
    expect((await ada.get('/get')).json()).to.deep.equal({});
  });

  it('a failed clean-up in regenerate() of a session that is gone hands out a copy of it', async () => {
    const store = new MemoryStore();
    const { visitor } = await createSite(
      {
        ...login,
        '/slow': async (ctx) => {
          // Logged out elsewhere, and then the store fails.
          const { destroy } = store;
          stub(store, 'destroy')
            .onFirstCall()
            .callsFake((...args) => {
              destroy.apply(store, args);
              return destroy.apply(store, args);
            })
            .onSecondCall()
            .throws(new Error('down'));
          await ctx.session.regenerate();
        },
      },
      { store },
    );
    const ada = visitor();
    await ada.get('/login');
    const { status, setCookie } = await ada.get('/slow');
    expect(status).to.equal(503);
    expect(setCookie).to.deep.equal([]);
    expect((await ada.get('/get')).json()).to.deep.equal({});
  });

  it('update() of a key that the same request deleted answers undefined, and deletes it again at the end', async () => {
    const seen: unknown[] = [];
    const { visitor } = await createSite({
      ...login,
      '/': async (ctx) => {
        delete ctx.session.n;
        seen.push(await ctx.session.update('n', (n = 10) => n + 1));
        seen.push(ctx.session.n);
      },
    });
    const ada = visitor();
    await ada.get('/login');
    await ada.get('/');
    seen.push((await ada.get('/get')).json().n);
    expect(seen).to.deep.equal([11, 11, 11]);
  });

  it('a key deleted and saved, then written by another request, is deleted again after update() or regenerate()', async () => {
    const store = new MemoryStore();
    const { visitor } = await createSite(
      {
        ...login,
        '/write': (ctx) => void (ctx.session.n = 7),
        '/slow': async (ctx) => {
          delete ctx.session.n;
          await ctx.session.save();
          await other.get('/write');
          await ctx.session.regenerate();
        },
      },
      { store },
    );
    const ada = visitor();
    const other = visitor();
    await ada.get('/login');
    for (const [name, value] of ada.jar) other.jar.set(name, value);
    await ada.get('/slow');
    expect((await ada.get('/get')).json()).to.deep.equal({ user: 'ada', n: 7 });
  });

  it('what is assigned while update() or regenerate() is at work is dropped', async () => {
    const store = new MemoryStore();
    const { visitor } = await createSite(
      {
        ...login,
        '/': async (ctx) => {
          const [arrived, released] = [new Gate(), new Gate()];
          const { update } = store;
          stub(store, 'update').callsFake((async (...args: Parameters<typeof update>) => {
            arrived.open();
            await released.passed;
            return update.apply(store, args);
          }) as never);
          const pending = ctx.session.update('n', (n) => n + 1);
          await arrived.passed;
          ctx.session.n = 99;
          released.open();
          await pending;
        },
      },
      { store },
    );
    const ada = visitor();
    await ada.get('/login');
    await ada.get('/');
    expect((await ada.get('/get')).json().n).to.equal(99);
  });

  it('update() whose function throws after changing the value in place stores the change', async () => {
    const { visitor } = await createSite({
      '/login': (ctx) => void (ctx.session.cart = []),
      '/': (ctx) =>
        ctx.session
          .update('cart', (cart) => {
            cart.push('half done');
            throw new Error('no');
          })
          .catch(() => undefined),
      '/get': (ctx) => ctx.session.cart,
    });
    const ada = visitor();
    await ada.get('/login');
    await ada.get('/');
    expect((await ada.get('/get')).json()).to.deep.equal([]);
  });

  it('update() to a value that can not be stored leaves it behind in a new session, and the request fails later', async () => {
    const { visitor } = await createSite({
      ...login,
      '/': (ctx) => ctx.session.update('url', () => new URL('http://x.example')).catch(() => 'refused'),
    });
    const ada = visitor();
    const fresh = await ada.get('/');
    await ada.get('/login');
    const existing = await ada.get('/');
    expect([existing.status, fresh.status]).to.deep.equal([200, 200]);
  });

  it('update() lets a key with a lone surrogate through to the store', async () => {
    const store = stubStore();
    const { visitor } = await createSite(
      { '/': (ctx) => ctx.session.update('\ud800', () => 1) },
      { store: asStore(store) },
    );
    const { status } = await visitor().get('/', { headers: { cookie: SOME_COOKIE } });
    expect([status, store.update.callCount]).to.deep.equal([500, 0]);
  });

  it('a change in a session first touched after the response is dropped silently', async () => {
    const site = await createSite({ ...login });
    const app = new Koa();
    const errors: Reported[] = [];
    app.on('error', (error) => errors.push(error));
    app.use(async (ctx, next) => {
      await next();
      ctx.session.seen = true; // in front of session(): a frequent mistake
    });
    app.use(session(new MemoryStore()));
    app.use((ctx) => {
      ctx.body = 'ok';
    });
    const client = new Client(await serveApp(app));
    const { status, setCookie } = await client.get('/');
    for (let i = 0; i < 10; i++) await nextTurn();
    expect(site.errors).to.deep.equal([]);
    expect(status !== 200 || setCookie.length > 0 || errors.length > 0).to.equal(true);
  });

  it('a change in a stream that is the first touch is dropped silently', async () => {
    const { visitor, errors } = await createSite({
      ...login,
      '/stream': (ctx) => {
        ctx.body = Readable.from(
          (async function* () {
            yield 'a';
            ctx.session.late = true;
            yield 'b';
          })(),
        );
      },
    });
    const ada = visitor();
    await ada.get('/login');
    await ada.get('/stream');
    for (let i = 0; i < 10; i++) await nextTurn();
    expect(errors.map(({ code }) => code)).to.deep.equal(['WSESSION_LATE']);
  });

  it('ctx.session = null after the response ends nothing, and is dropped silently', async () => {
    const store = new MemoryStore();
    const destroy = spy(store, 'destroy');
    const done = new Gate();
    const { visitor, errors } = await createSite(
      {
        ...login,
        '/late': (ctx) => {
          ctx.res.once('finish', () => {
            ctx.session = null;
            done.open();
          });
          return ctx.session.user;
        },
      },
      { store },
    );
    const ada = visitor();
    await ada.get('/login');
    await ada.get('/late');
    await done.passed;
    for (let i = 0; i < 10; i++) await nextTurn();
    expect(errors.length + destroy.callCount).to.be.greaterThan(0);
  });

  it('what was assigned before a regenerate() that was refused is lost with a 200, where the handler caught it', async () => {
    const store = stubStore();
    store.destroy.returns(undefined); // it ended meanwhile
    const { visitor } = await createSite(
      {
        '/': async (ctx) => {
          ctx.session.paid = true;
          await ctx.session.regenerate().catch(() => undefined);
        },
      },
      { store: asStore(store) },
    );
    const { status } = await visitor().get('/', { headers: { cookie: SOME_COOKIE } });
    expect(status).to.equal(409); // as with save() and update()
  });

  for (const [what, step] of [
    ['an update()', (ctx: Koa.Context) => ctx.session.update('n', (n) => n + 1)],
    ['a regenerate()', (ctx: Koa.Context) => ctx.session.regenerate()],
  ] as const) {
    it(`${what} that nobody awaits and that fails is a 200, and reported nowhere`, async () => {
      const store = stubStore();
      for (const method of ['create', 'update'] as const) store[method].rejects(new Error('down'));
      const { visitor, errors } = await createSite(
        { '/': (ctx) => void step(ctx) },
        { store: asStore(store) },
      );
      const { status } = await visitor().get('/', { headers: { cookie: SOME_COOKIE } });
      expect([status, errors.map(({ code }) => code)]).to.not.deep.equal([200, []]);
    });
  }

  it('a change in place while a web stream is sent is dropped silently', async () => {
    const { visitor, errors } = await createSite({
      '/login': (ctx) => void (ctx.session.list = []),
      '/stream': (ctx) => {
        const { list } = ctx.session;
        ctx.body = new ReadableStream({
          async pull(controller) {
            for (let i = 0; i < 10; i++) await nextTurn();
            list.push(1);
            controller.enqueue(Buffer.from('a'));
            controller.close();
          },
        });
      },
    });
    const ada = visitor();
    await ada.get('/login');
    expect((await ada.get('/stream')).body).to.equal('a');
    for (let i = 0; i < 10; i++) await nextTurn();
    expect(errors.map(({ code }) => code)).to.deep.equal(['WSESSION_LATE']);
  });

  it('save() after the response, a turn after the assignment, is acknowledged and stores nothing', async () => {
    const done = new Gate<unknown>();
    const { visitor } = await createSite({
      ...login,
      '/': (ctx) => {
        ctx.res.once('finish', async () => {
          ctx.session.late = true;
          for (let i = 0; i < 5; i++) await nextTurn(); // a query, say
          done.open(
            await ctx.session.save().then(
              () => 'stored',
              () => 'refused',
            ),
          );
        });
        return ctx.session.user;
      },
    });
    const ada = visitor();
    await ada.get('/login');
    await ada.get('/');
    const outcome = await done.passed;
    const { late } = (await ada.get('/get')).json();
    expect([outcome, late]).to.be.deep.oneOf([
      ['stored', true],
      ['refused', undefined],
    ]);
  });

  it('a fractional number of seconds becomes an instant that stores can not keep', async () => {
    const store = stubStore();
    const { visitor } = await createSite(
      { '/': (ctx) => ctx.session.expireIn(3600 / 7) },
      { store: asStore(store) },
    );
    await visitor().get('/', { headers: { cookie: SOME_COOKIE } });
    const { expiresAt } = store.update.firstCall.args[1];
    const record = { ...recordOf({}), expiresAt };
    expect(openRecord(packRecord('x', record))?.record.expiresAt).to.equal(expiresAt);
    expect(Number.isInteger(expiresAt)).to.equal(true);
  });

  it('a lifetime beyond any date reaches the store and the cookie', async () => {
    const store = stubStore();
    const { visitor } = await createSite(
      { '/': (ctx) => ctx.session.expireIn(Number.MAX_VALUE) },
      { store: asStore(store) },
    );
    const { setCookie } = await visitor().get('/', { headers: { cookie: SOME_COOKIE } });
    expect(setCookie.every((line) => /; Max-Age=\d+;/.test(line))).to.equal(true);
    if (store.update.called) expect(store.update.firstCall.args[1].expiresAt).to.be.lessThanOrEqual(8.64e15);
  });

  it('destroy() after a corrupt entry was read leaves the record and the cookie', async () => {
    const store = stubStore();
    store.load.callsFake(() => recordOf({ user: '"ada"', prefs: '{' }));
    const { visitor } = await createSite(
      {
        '/': async (ctx) => {
          ctx.session.prefs; // corrupt, and so is the session
          await ctx.session.destroy();
        },
      },
      { store: asStore(store) },
    );
    const { status } = await visitor().get('/', { headers: { cookie: SOME_COOKIE } });
    expect([status, store.destroy.callCount]).to.deep.equal([200, 1]);
  });

  it('a corrupt lifetime with rolling is a 500', async () => {
    const store = stubStore();
    store.load.callsFake(() => recordOf({ user: '"ada"', '\0expire': '{' }));
    const { visitor } = await createSite(
      { '/': (ctx) => ctx.session.user ?? null },
      { store: asStore(store), rolling: true },
    );
    expect((await visitor().get('/', { headers: { cookie: SOME_COOKIE } })).status).to.equal(200);
  });

  it('ctx.session = null after a GoneError that the handler dealt with is a 409', async () => {
    const store = stubStore();
    store.update.returns({ outcome: 'gone' });
    store.destroy.returns(undefined);
    const { visitor } = await createSite(
      {
        '/': async (ctx) => {
          await ctx.session.update('n', (n) => n + 1).catch(() => undefined);
          ctx.session = null; // "destroying twice is no error"
        },
      },
      { store: asStore(store) },
    );
    expect((await visitor().get('/', { headers: { cookie: SOME_COOKIE } })).status).to.equal(200);
  });

  it('Vary: Cookie is lost when the handler sets Vary after it read the session', async () => {
    const { visitor } = await createSite({
      '/': (ctx) => {
        const { user } = ctx.session;
        ctx.set('Vary', 'Accept-Language');
        return user ?? null;
      },
    });
    expect((await visitor().get('/')).headers.vary).to.equal('Accept-Language, Cookie');
  });

  it('Vary: Cookie is lost on an error after the session was read', async () => {
    const { visitor } = await createSite({
      '/': (ctx) => {
        if (!ctx.session.user) ctx.throw(404);
      },
    });
    const { status, headers } = await visitor().get('/');
    expect([status, headers.vary]).to.deep.equal([404, 'Cookie']);
  });

  it('the cookie of save() or regenerate() is lost when the handler sets Set-Cookie and streams', async () => {
    const { visitor } = await createSite({
      ...login,
      '/stream': async (ctx) => {
        await ctx.session.regenerate();
        ctx.set('Set-Cookie', 'theme=dark');
        ctx.body = Readable.from(['a']);
      },
    });
    const ada = visitor();
    await ada.get('/login');
    await ada.get('/stream');
    expect((await ada.get('/get')).json()).to.deep.equal({ user: 'ada', n: 1 });
  });

  it('properties of Uint8Array and Buffer are dropped silently', async () => {
    const { visitor, errors } = await createSite({
      '/u8': (ctx) => void (ctx.session.a = Object.assign(new Uint8Array(1), { extra: 1 })),
      '/buffer': (ctx) => void (ctx.session.a = Object.assign(Buffer.from('x'), { extra: 1 })),
    });
    for (const path of ['/u8', '/buffer']) expect((await visitor().get(path)).status).to.equal(500);
    expect(errors.length).to.equal(2);
  });

  it('what only looks like an array or a date is refused', async () => {
    const values = [
      Object.create(Array.prototype),
      Object.create(Date.prototype),
      Object.create(Map.prototype),
    ];
    const { visitor } = await createSite({
      '/': (ctx) => void (ctx.session.a = values[Number(ctx.query.i)]),
    });
    const statuses = [];
    for (const i of values.keys()) statuses.push((await visitor().get(`/?i=${i}`)).status);
    expect(statuses).to.deep.equal([500, 500, 500]);
  });

  it('ctx.session = new Map(…) drops the content silently', async () => {
    const { visitor } = await createSite({
      ...login,
      '/': (ctx) => void (ctx.session = new Map([['a', 1]]) as never),
    });
    const ada = visitor();
    await ada.get('/login');
    expect((await ada.get('/')).status).to.equal(500);
  });

  it('ctx.session = {…} that is refused has replaced half of the content', async () => {
    const { visitor } = await createSite({
      ...login,
      '/': (ctx) => {
        try {
          ctx.session = { a: 1, b: () => 1 };
        } catch {}
      },
    });
    const ada = visitor();
    await ada.get('/login');
    await ada.get('/');
    expect((await ada.get('/get')).json()).to.deep.equal({ user: 'ada', n: 1 });
  });

  it('an array index that a visitor may choose stops the process', async function () {
    this.timeout(30_000);
    const { visitor } = await createSite({
      '/': (ctx) => {
        const list = [1];
        list[40_000_000] = 1; // 4_294_967_294 takes a hundred times as long
        ctx.session.list = list;
      },
    });
    const start = performance.now();
    await visitor().get('/');
    expect(performance.now() - start).to.be.lessThan(100);
  });

  it('a save that fails after the handler threw a non-error is a 500', async () => {
    const store = stubStore();
    store.update.throws(new Error('down'));
    const { visitor } = await createSite(
      {
        '/': (ctx) => {
          ctx.session.a = 1;
          throw 'no error at all';
        },
      },
      { store: asStore(store), mute: true },
    );
    expect((await visitor().get('/', { headers: { cookie: SOME_COOKIE } })).status).to.equal(503);
  });

  it('a store that rejects with what can not be made a string leaves the visitor without an answer', async () => {
    const store = stubStore();
    store.create.callsFake(() => Promise.reject(Object.create(null)));
    const { visitor } = await createSite(
      { '/': (ctx) => void (ctx.session.a = 1) },
      { store: asStore(store), timeout: 200 },
    );
    const unhandled: unknown[] = [];
    const listeners = process.listeners('unhandledRejection');
    process.removeAllListeners('unhandledRejection');
    process.on('unhandledRejection', (reason) => unhandled.push(reason));
    try {
      const outcome = await Promise.race([
        visitor()
          .get('/')
          .then(({ status }) => status),
        once(process, 'unhandledRejection').then(() => 'unhandled'),
      ]);
      expect([outcome, unhandled]).to.deep.equal([503, []]);
    } finally {
      process.removeAllListeners('unhandledRejection');
      for (const listener of listeners) process.on('unhandledRejection', listener);
    }
  });

  it('an outcome that no store should answer is acknowledged as stored', async () => {
    const store = stubStore();
    store.update.returns({ outcome: 'conflict', actual: undefined });
    const { visitor } = await createSite(
      { '/': (ctx) => void (ctx.session.a = 1) },
      { store: asStore(store) },
    );
    const { status } = await visitor().get('/', { headers: { cookie: SOME_COOKIE } });
    expect(status).to.be.oneOf([500, 503]);
  });

  it('a promise that is not a native one is taken for a record that is not there', async () => {
    const store = stubStore();
    const record = recordOf({ user: '"ada"' });
    // biome-ignore lint/suspicious/noThenProperty: a promise of another library
    store.load.callsFake(() => ({ then: (resolve: (it: unknown) => void) => resolve(record) }));
    const { visitor } = await createSite(
      { '/': (ctx) => ctx.session.user ?? null },
      { store: asStore(store) },
    );
    expect((await visitor().get('/', { headers: { cookie: SOME_COOKIE } })).json()).to.equal('ada');
  });

  it('an assignment to ctx.session in front of the middleware is dropped silently', async () => {
    const outcomes = [];
    const app = new Koa();
    app.silent = true;
    app.use((ctx, next) => {
      ctx.session = { user: 'ada' };
      return next();
    });
    app.use(session(new MemoryStore()));
    app.use((ctx) => {
      ctx.body = String(ctx.session.user);
    });
    const client = new Client(await serveApp(app));
    for (let i = 0; i < 2; i++) outcomes.push((await client.get('/')).status);
    expect(outcomes).to.deep.equal([500, 500]);
  });

  it('the error for an unknown option says that it is a string of 7 characters', () => {
    expect(() => session(new MemoryStore(), { nmae: 5 } as never))
      .to.throw(TypeError)
      .with.property('message')
      .that.does.not.include('a string of 7 characters');
  });

  it('the LateError of expireIn() names an internal key', async () => {
    const site = await createSite({
      ...login,
      '/': (ctx) => {
        ctx.res.once('finish', () => ctx.session.expireIn(5));
        return ctx.session.user;
      },
    });
    const ada = site.visitor();
    await ada.get('/login');
    const reported = site.nextError();
    await ada.get('/');
    expect((await reported).message).to.not.include('\\u0000');
  });

  it('update() that is refused throws at once, in place of rejecting', async () => {
    const store = new MemoryStore({ secure: true });
    spy(store, 'create');
    const { visitor } = await createSite(
      { '/': (ctx) => ctx.session.update('n', () => 1).catch(({ code }: Reported) => code) },
      { store },
    );
    expect((await visitor().get('/')).json()).to.equal('WSESSION_INSECURE');
  });
});
