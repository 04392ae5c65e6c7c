import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect } from 'chai';
import type Koa from 'koa';
import { UnavailableError, ValueError } from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import type { Store } from 'koa-wsession/store';
import { spy, stub } from 'sinon';
import {
  asStore,
  createSite,
  errorOf,
  Gate,
  type Handler,
  inRequest,
  OpenStore,
  observe,
  recordOf,
  SOME_COOKIE,
  stubStore,
  tidy,
  twinOf,
  UPDATED,
} from './helpers.js';

const WAYS: ReadonlyArray<[name: string, end: (ctx: Koa.Context) => unknown]> = [
  ['destroy()', (ctx) => ctx.session.destroy()],
  ['ctx.session = null', (ctx) => void (ctx.session = null)],
];

const DELETION = /^wsession=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=\/; HttpOnly; SameSite=Lax$/;

const handlers: Record<string, Handler> = {
  '/login': (ctx) => void Object.assign(ctx.session, { user: 'ada', n: 1 }),
  '/get': (ctx) => ({ ...ctx.session }),
};

/** Holds a store's calls of one method until the gate opens; the first `skip` calls aren't held. */
function hold(store: Store, method: 'create' | 'update', skip = 0): { arrived: Gate; released: Gate } {
  const gates = { arrived: new Gate(), released: new Gate() };
  const original = store[method].bind(store) as (...args: unknown[]) => unknown;
  let calls = 0;
  stub(store, method).callsFake((async (...args: unknown[]) => {
    if (calls++ >= skip) {
      gates.arrived.open();
      await gates.released.passed;
    }
    return original(...args);
  }) as never);
  return gates;
}

for (const [name, end] of WAYS) {
  describe(name, () => {
    afterEach(tidy);

    it('ends the record, and has the browser delete the cookie', async () => {
      const store = stubStore();
      const { status, setCookie, headers } = await inRequest((ctx) => void end(ctx), {
        store: asStore(store),
        cookie: SOME_COOKIE,
      });
      expect(store.destroy.args.map(([key]) => key)).to.deep.equal([store.load.firstCall.args[0]]);
      expect(store.destroy.firstCall.args[1]).to.include({ replaced: undefined, revision: undefined });
      expect([status, setCookie.length, headers['cache-control']]).to.deep.equal([200, 1, 'no-store']);
      expect(setCookie[0]).to.match(DELETION);
    });

    it('deletes the cookie where it was set: same name, path and domain', async () => {
      const store = { ...stubStore(), domain: 'a.example', secure: true };
      const { visitor, app } = await createSite(
        { '/app': (ctx) => void end(ctx) },
        { store: asStore(store), name: '__Secure-x', path: '/app', sameSite: 'none', partitioned: true },
      );
      app.proxy = true;
      const headers = { cookie: SOME_COOKIE.replace('wsession', '__Secure-x'), 'x-forwarded-proto': 'https' };
      const { setCookie } = await visitor().get('/app', { headers });
      expect(setCookie).to.deep.equal([
        '__Secure-x=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/app; Domain=a.example; Secure; HttpOnly; SameSite=None; Partitioned',
      ]);
    });

    it('without a cookie asks the store for nothing, and sets no cookie', async () => {
      const store = stubStore();
      const { setCookie, status } = await inRequest(
        (ctx) => {
          ctx.session.a = 1;
          return end(ctx);
        },
        { store: asStore(store) },
      );
      expect([status, setCookie, store.destroy.callCount, store.create.callCount]).to.deep.equal([200, [], 0, 0]);
    });

    for (const [where, cookie, loaded] of [
      ['no record', SOME_COOKIE, undefined],
      ['an expired record', SOME_COOKIE, 'expired'],
      ['an unreadable record', SOME_COOKIE, 'corrupt'],
      ['nothing, being forged', 'wsession=forged', undefined],
    ] as const) {
      it(`deletes a cookie that leads to ${where}, and asks the store for nothing`, async () => {
        const store = stubStore();
        store.load.returns(loaded);
        const { setCookie, status } = await inRequest((ctx) => void end(ctx), {
          store: asStore(store),
          cookie,
        });
        expect([status, setCookie.length, store.destroy.callCount]).to.deep.equal([200, 1, 0]);
        expect(setCookie[0]).to.match(DELETION);
      });
    }

    it('deletes no cookie of a session that isn’t read over plain http', async () => {
      const store = { ...stubStore(), secure: true };
      const { setCookie, status } = await inRequest((ctx) => void end(ctx), {
        store: asStore(store),
        cookie: SOME_COOKIE,
      });
      expect([status, setCookie, store.destroy.callCount]).to.deep.equal([200, [], 0]);
    });

    it('of a session that another request ended is no error, and deletes the cookie as well', async () => {
      for (const answer of [{ outcome: 'none' }, Promise.resolve({ outcome: 'none' })]) {
        const store = stubStore();
        store.destroy.returns(answer);
        const { setCookie, status } = await inRequest((ctx) => void end(ctx), {
          store: asStore(store),
          cookie: SOME_COOKIE,
        });
        expect([status, setCookie.length]).to.deep.equal([200, 1]);
        expect(setCookie[0]).to.match(DELETION);
      }
    });

    it('of a session whose id was replaced meanwhile deletes no cookie, and takes back what save() set', async () => {
      const store = stubStore();
      store.destroy.returns({ outcome: 'replaced', by: 'B'.repeat(43) });
      const { setCookie, status } = await inRequest(
        async (ctx) => {
          ctx.session.a = 1;
          await ctx.session.save();
          await end(ctx);
        },
        { store: asStore(store), cookie: SOME_COOKIE },
      );
      expect([status, setCookie]).to.deep.equal([200, []]);
    });

    it('counts, and so does what is assigned then, while the request waits for a save() that nothing awaits', async () => {
      const store = stubStore();
      const saved = new Gate<unknown>();
      store.update.returns(saved.passed);
      const { status } = await inRequest(
        (ctx) => {
          ctx.session.a = 1;
          void ctx.session.save();
          setImmediate(() => {
            void end(ctx);
            ctx.session.fresh = 1;
            saved.open(UPDATED);
          });
        },
        { store: asStore(store), cookie: SOME_COOKIE },
      );
      expect([status, store.destroy.callCount, store.create.callCount]).to.deep.equal([200, 1, 1]);
      expect(Object.fromEntries(store.create.firstCall.args[1].entries)).to.deep.equal({ fresh: '1' });
    });

    it('twice asks the store once', async () => {
      const store = stubStore();
      const { setCookie } = await inRequest(
        async (ctx) => {
          await end(ctx);
          await end(ctx);
        },
        { store: asStore(store), cookie: SOME_COOKIE },
      );
      expect([store.destroy.callCount, setCookie.length]).to.deep.equal([1, 1]);
    });

    it('leaves nothing behind: no key, no message, no lifetime, no owner', async () => {
      const store = stubStore();
      store.load.callsFake(() => recordOf({ n: '1', '\0owner': '"ada"', '\0label': '"x"' }));
      await inRequest(
        async (ctx, { of }) => {
          Object.assign(ctx.session, { a: 1, n: 2, maxAge: 120_000 });
          of(ctx).flash('note', 'x');
          await end(ctx);
          const { session } = ctx;
          expect({ ...session }).to.deep.equal({});
          expect([session.n, 'n' in session, session.maxAge, session.isNew]).to.deep.equal([
            undefined,
            false,
            undefined,
            true,
          ]);
          const { owner, label, ref } = of(ctx);
          expect([owner, label, ref, await of(ctx).takeFlash('note')]).to.deep.equal([
            undefined,
            undefined,
            undefined,
            [],
          ]);
          session.fresh = 1;
        },
        { store: asStore(store), cookie: SOME_COOKIE },
      );
      const { entries, createdAt, expiresAt } = store.create.firstCall.args[1];
      expect([...entries]).to.deep.equal([['fresh', '1']]);
      expect(expiresAt - createdAt).to.be.within(3_600_000, 3_600_100);
      expect(store.update.callCount).to.equal(0);
    });

    it('lets a new session begin, with an id of its own, after the old one ended', async () => {
      const store = new MemoryStore();
      const { visitor } = await createSite(
        {
          ...handlers,
          '/switch': async (ctx) => {
            await end(ctx);
            ctx.session.user = 'bob';
          },
        },
        { store },
      );
      const ada = visitor();
      await ada.get('/login');
      const old = twinOf(ada);
      const order = observe(store);
      const { setCookie } = await ada.get('/switch');
      expect(order).to.deep.equal(['destroy', 'create']);
      expect(setCookie).to.have.length(1);
      expect(ada.cookie).to.not.equal(old.cookie);
      expect((await ada.get('/get')).json()).to.deep.equal({ user: 'bob' });
      expect((await old.get('/get')).json()).to.deep.equal({});
    });

    it('is delivered on an error that comes after it', async () => {
      const store = stubStore();
      const { visitor } = await createSite(
        {
          '/': async (ctx) => {
            await end(ctx);
            ctx.throw(403);
          },
        },
        { store: asStore(store) },
      );
      const { status, setCookie } = await visitor().get('/', { headers: { cookie: SOME_COOKIE } });
      expect([status, setCookie.length]).to.deep.equal([403, 1]);
      expect(setCookie[0]).to.match(DELETION);
    });

    it('that fails is a 503 that leaves the cookie, also where it was caught, and the store is asked once', async () => {
      const store = stubStore();
      store.destroy.rejects(new Error('down'));
      const { visitor, errors } = await createSite(
        {
          '/': async (ctx) => {
            await Promise.resolve(end(ctx)).catch(() => undefined);
            return 'logged out';
          },
        },
        { store: asStore(store) },
      );
      const { status, setCookie } = await visitor().get('/', { headers: { cookie: SOME_COOKIE } });
      expect([status, setCookie, store.destroy.callCount]).to.deep.equal([503, [], 1]);
      expect(errors.map(({ code }) => code)).to.deep.equal(['WSESSION_UNAVAILABLE']);
    });

    it('with a store that seals ends the token, too', async () => {
      const store = new OpenStore();
      const { visitor } = await createSite({ ...handlers, '/logout': (ctx) => void end(ctx) }, { store });
      const ada = visitor();
      await ada.get('/login');
      const old = twinOf(ada);
      expect((await ada.get('/logout')).setCookie[0]).to.match(DELETION);
      expect((await old.get('/get')).json()).to.deep.equal({});
    });

    it('is final for a request in flight: its change is a 409, stores nothing and sets no cookie', async () => {
      for (const store of [new MemoryStore(), new OpenStore()]) {
        const { visitor } = await createSite(
          {
            ...handlers,
            '/logout': (ctx) => void end(ctx),
            '/slow': async (ctx) => {
              ctx.session.n = 2;
              await ada.get('/logout');
            },
          },
          { store },
        );
        const ada = visitor();
        await ada.get('/login');
        const other = twinOf(ada);
        const { status, setCookie } = await other.get('/slow');
        expect([status, setCookie]).to.deep.equal([409, []]);
        expect((await other.get('/get')).json()).to.deep.equal({});
      }
    });

    it('while regenerate() is in progress ends the session under its new id', async () => {
      const store = new MemoryStore();
      const { arrived, released } = hold(store, 'create', 1);
      const { visitor } = await createSite(
        {
          ...handlers,
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
      expect((await ada.get('/both')).status).to.equal(200);
      expect((await ada.get('/get')).json()).to.deep.equal({});
    });

    it('while save() is creating the record ends the new session', async () => {
      const store = new MemoryStore();
      const { arrived, released } = hold(store, 'create');
      const destroy = spy(store, 'destroy');
      const { visitor } = await createSite(
        {
          ...handlers,
          '/': async (ctx) => {
            ctx.session.secret = 1;
            const saving = ctx.session.save();
            await arrived.passed;
            const ending = end(ctx);
            released.open();
            await Promise.all([saving, ending]);
          },
        },
        { store },
      );
      const ada = visitor();
      expect((await ada.get('/')).status).to.equal(200);
      expect(destroy.returnValues.map(({ outcome }) => outcome)).to.deep.equal(['destroyed']);
      expect(ada.jar.size).to.equal(0);
    });

    it('while save() is in progress may be followed by a new session', async () => {
      const store = stubStore();
      const answer = new Gate<unknown>();
      store.update.onFirstCall().returns(answer.passed).onSecondCall().returns({ outcome: 'gone' });
      const { visitor } = await createSite(
        {
          '/': async (ctx) => {
            ctx.session.a = 1;
            const saving = ctx.session.save();
            await nextTurn();
            const ending = end(ctx);
            answer.open(UPDATED);
            await Promise.all([saving, ending]);
            ctx.session.user = 'bob';
          },
        },
        { store: asStore(store) },
      );
      const { status } = await visitor().get('/', { headers: { cookie: SOME_COOKIE } });
      expect([status, store.create.callCount]).to.deep.equal([200, 1]);
    });

    it('comes after an update() that was asked for before it', async () => {
      const { visitor } = await createSite({
        ...handlers,
        '/both': async (ctx, { of }) => {
          await Promise.all([of(ctx).update('n', (n = 0) => n + 1), end(ctx)]);
        },
      });
      const ada = visitor();
      await ada.get('/login');
      expect((await ada.get('/both')).status).to.equal(200);
      expect((await ada.get('/get')).json()).to.deep.equal({});
    });

    it('ends a session whose entry turned out to be unreadable', async () => {
      const store = stubStore();
      store.load.callsFake(() => recordOf({ user: '"ada"', prefs: '{' }));
      const { status } = await inRequest(
        (ctx) => {
          ctx.session.prefs; // unreadable, and so is the session
          return end(ctx);
        },
        { store: asStore(store), cookie: SOME_COOKIE },
      );
      expect([status, store.destroy.callCount]).to.deep.equal([200, 1]);
    });

    it('after a GoneError that the handler caught is no error', async () => {
      const store = stubStore();
      store.update.returns({ outcome: 'gone' });
      store.destroy.returns({ outcome: 'none' });
      const { status } = await inRequest(
        async (ctx, { of }) => {
          ctx.session.a = 1;
          await errorOf(() => of(ctx).update('n', (n) => n + 1));
          await end(ctx);
        },
        { store: asStore(store), cookie: SOME_COOKIE },
      );
      expect(status).to.equal(200);
    });
  });
}

describe('destroy()', () => {
  afterEach(tidy);

  it('resolves once the store has answered', async () => {
    const store = stubStore();
    const gate = new Gate<unknown>();
    store.destroy.returns(gate.passed);
    let isDone = false;
    await inRequest(
      async (ctx) => {
        const destroying = ctx.session.destroy().then(() => {
          isDone = true;
        });
        await nextTurn();
        expect([store.destroy.callCount, isDone]).to.deep.equal([1, false]);
        gate.open({ outcome: 'none' });
        await destroying;
        expect(isDone).to.equal(true);
      },
      { store: asStore(store), cookie: SOME_COOKIE },
    );
  });

  it('rejects with the UnavailableError, and can be tried again', async () => {
    const store = stubStore();
    store.destroy.onFirstCall().rejects(new Error('down'));
    const { status, setCookie } = await inRequest(
      async (ctx) => {
        expect(await errorOf(() => ctx.session.destroy())).to.be.instanceOf(UnavailableError);
        await ctx.session.destroy();
      },
      { store: asStore(store), cookie: SOME_COOKIE },
    );
    expect([status, setCookie.length, store.destroy.callCount]).to.deep.equal([200, 1, 2]);
  });
});

describe('ctx.session = null', () => {
  afterEach(tidy);

  it('is carried out at the end of the request, or by save()', async () => {
    const store = stubStore();
    await inRequest(
      async (ctx) => {
        ctx.session = null;
        await nextTurn();
        expect(store.destroy.callCount).to.equal(0);
        await ctx.session.save();
        expect(store.destroy.callCount).to.equal(1);
      },
      { store: asStore(store), cookie: SOME_COOKIE },
    );
    expect(store.destroy.callCount).to.equal(1);
  });

  it('is carried out by save(), also where what was assigned since can not be stored', async () => {
    const store = stubStore();
    await inRequest(
      async (ctx) => {
        ctx.session = null;
        ctx.session.a = { b: () => 1 } as never;
        expect(await errorOf(() => ctx.session.save())).to.be.instanceOf(ValueError);
        expect(store.destroy.callCount).to.equal(1);
        ctx.session = null;
      },
      { store: asStore(store), cookie: SOME_COOKIE },
    );
  });

  it('that the store answers otherwise than it was asked is a 503, and the cookie stays', async () => {
    for (const answer of [undefined, {}, 'x', { outcome: 'changed', record: recordOf({}) }]) {
      const store = stubStore();
      store.destroy.returns(answer as never);
      const { status, setCookie } = await inRequest((ctx) => void (ctx.session = null), {
        store: asStore(store),
        cookie: SOME_COOKIE,
      });
      expect([status, setCookie], JSON.stringify(answer)).to.deep.equal([503, []]);
    }
  });

  it('takes nothing from a polluted Object.prototype', async () => {
    const polluted = Object.prototype as { revision?: unknown };
    const { visitor } = await createSite({
      '/set': (ctx) => void (ctx.session.n = 1),
      '/logout': (ctx) => ctx.session.destroy(),
      '/get': (ctx) => ({ ...ctx.session }),
    });
    const ada = visitor();
    await ada.get('/set');
    const { cookie } = ada;
    polluted.revision = '1.2.3';
    try {
      await ada.get('/logout');
    } finally {
      delete polluted.revision;
    }
    expect((await ada.get('/get', { headers: { cookie } })).json()).to.deep.equal({});
  });

  it('ends every session that the visitor has cookies for: a changed domain or path leaves two', async () => {
    for (const store of [new MemoryStore(), new OpenStore()]) {
      const { visitor } = await createSite(
        {
          '/set': (ctx) => void (ctx.session.n = 1),
          '/logout': (ctx) => ctx.session.destroy(),
          '/get': (ctx) => ({ ...ctx.session }),
        },
        { store },
      );
      const cookies: string[] = [];
      for (let i = 0; i < 2; i++) {
        const one = visitor();
        await one.get('/set');
        cookies.push(one.cookie);
      }
      await visitor().get('/logout', { headers: { cookie: cookies.join('; ') } });
      for (const cookie of cookies)
        expect((await visitor().get('/get', { headers: { cookie } })).json(), cookie).to.deep.equal({});
    }
  });
});
