import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect } from 'chai';
import type Koa from 'koa';
import { GoneError, type Sessions, UnavailableError, ValueError } from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import { spy } from 'sinon';
import {
  asStore,
  createSite,
  errorOf,
  Gate,
  inRequest,
  recordOf,
  SOME_COOKIE,
  stubStore,
  tidy,
  UPDATED,
} from './helpers.js';

describe('ctx.session.save()', () => {
  afterEach(tidy);

  it('resolves once the store has answered', async () => {
    const store = stubStore();
    const gate = new Gate<unknown>();
    store.create.returns(gate.passed);
    let saved = false;
    await inRequest(
      async (ctx) => {
        ctx.session.a = 1;
        const saving = ctx.session.save().then(() => {
          saved = true;
        });
        await nextTurn();
        expect([store.create.callCount, saved]).to.deep.equal([1, false]);
        gate.open({ outcome: 'created' });
        await saving;
      },
      { store: asStore(store) },
    );
    expect([store.create.callCount, saved]).to.deep.equal([1, true]);
  });

  it('creates a record with all entries, its age, its expiry and its revision', async () => {
    const store = stubStore();
    const before = Date.now();
    await inRequest((ctx) => void Object.assign(ctx.session, { a: 1, b: 'x' }), { store: asStore(store) });
    const [key, record, call] = store.create.firstCall.args;
    expect(key).to.match(/^[\w-]{43}$/);
    expect([...record.entries]).to.deep.equal([
      ['a', '1'],
      ['b', '"x"'],
    ]);
    expect(record.createdAt).to.be.within(before, Date.now());
    expect(record.expiresAt - record.createdAt).to.be.within(3_600_000, 3_600_100);
    expect(record.updatedAt).to.be.within(record.createdAt, Date.now());
    expect(record.revision).to.equal(1);
    expect(call.name).to.equal('wsession');
    expect(call.deadline - performance.now()).to.be.within(3000, 5000);
  });

  it('sends only the keys that the request changed', async () => {
    const store = stubStore();
    store.load.callsFake(() =>
      recordOf({ same: '1', read: '{"a":1}', changed: '2', nested: '{"a":[1]}', gone: '3', untouched: '4' }),
    );
    await inRequest(
      async (ctx) => {
        const { session } = ctx;
        session.same = 1;
        session.read.a;
        session.changed = 3;
        session.nested.a.push(2);
        session.added = true;
        delete session.gone;
        delete session.never;
        session.brief = 1;
        delete session.brief;
        await session.save();
      },
      { store: asStore(store), cookie: SOME_COOKIE },
    );
    expect(store.update.callCount).to.equal(1);
    const { set, delete: removed, expect: expected } = store.update.firstCall.args[1];
    expect(Object.fromEntries(set)).to.deep.equal({ changed: '3', nested: '{"a":[1,2]}', added: 'true' });
    expect([removed, expected]).to.deep.equal([['gone'], undefined]);
  });

  it('stores nothing for a value that was changed and changed back', async () => {
    const store = stubStore();
    store.load.callsFake(() => recordOf({ list: '[1]', map: '~[["Map",1,2],"a",1]', n: '1' }));
    const { setCookie } = await inRequest(
      async (ctx) => {
        const { session } = ctx;
        session.list.push(2);
        session.list.pop();
        session.map.set('b', 1);
        session.map.delete('b');
        delete session.n;
        session.n = 1;
        await session.save();
      },
      { store: asStore(store), cookie: SOME_COOKIE },
    );
    expect([store.update.callCount, setCookie]).to.deep.equal([0, []]);
  });

  it('compares encodings and not hashes: it sees a change that leaves the CRC32 as it was', async () => {
    const store = stubStore();
    store.load.callsFake(() => recordOf({ text: '["plumless"]' }));
    await inRequest((ctx) => void (ctx.session.text[0] = 'buckeroo'), {
      store: asStore(store), // the two words have the same CRC32
      cookie: SOME_COOKIE,
    });
    expect(store.update.firstCall.args[1].set.get('text')).to.equal('["buckeroo"]');
  });

  it('stores nothing where nothing changed, and stores each change once', async () => {
    const store = stubStore();
    await inRequest(
      async (ctx) => {
        await ctx.session.save();
        expect(store.update.callCount).to.equal(0);
        ctx.session.a = [1];
        await ctx.session.save();
        await ctx.session.save();
        expect(store.update.callCount).to.equal(1);
        ctx.session.a.push(2);
        await ctx.session.save();
        expect(store.update.callCount).to.equal(2);
      },
      { store: asStore(store), cookie: SOME_COOKIE },
    );
    expect(store.update.callCount).to.equal(2);
  });

  it('leaves for the end of the request what changes while it is in progress', async () => {
    const store = stubStore();
    store.load.callsFake(() => recordOf({ list: '[]', old: '1', kept: '1', both: '1' }));
    const gate = new Gate<unknown>();
    store.update.onFirstCall().returns(gate.passed);
    await inRequest(
      async (ctx) => {
        const { session } = ctx;
        session.list.push(1);
        session.a = 1;
        delete session.old;
        session.both = 2;
        const saving = session.save();
        await nextTurn();
        session.list.push(2);
        session.b = 1;
        delete session.a;
        session.old = 'back';
        session.both = 1;
        gate.open(UPDATED);
        await saving;
        expect({ ...session }).to.deep.equal({ list: [1, 2], old: 'back', kept: 1, both: 1, b: 1 });
      },
      { store: asStore(store), cookie: SOME_COOKIE },
    );
    expect(store.update.callCount).to.equal(2);
    const { set, delete: removed } = store.update.secondCall.args[1];
    expect(Object.fromEntries(set)).to.deep.equal({ list: '[1,2]', b: '1', old: '"back"', both: '1' });
    expect(removed).to.deep.equal(['a']);
  });

  it('takes another id where the store has a record of that id', async () => {
    const store = stubStore();
    store.create.onFirstCall().returns({ outcome: 'exists' });
    store.create.onSecondCall().resolves({ outcome: 'exists' });
    const { setCookie } = await inRequest((ctx) => void (ctx.session.a = 1), { store: asStore(store) });
    expect(store.create.callCount).to.equal(3);
    expect(new Set(store.create.args.map(([key]) => key)).size).to.equal(3);
    expect(setCookie).to.have.length(1);
  });

  it('resets the expiry, and not the age', async () => {
    const store = stubStore();
    const createdAt = Date.now() - 1_000_000;
    store.load.callsFake(() => recordOf({ n: '1' }, createdAt));
    const { setCookie } = await inRequest((ctx) => void (ctx.session.n = 2), {
      store: asStore(store),
      cookie: SOME_COOKIE,
    });
    expect(store.update.firstCall.args[1].expiresAt).to.be.within(Date.now() + 3_599_000, Date.now() + 3_600_000);
    expect(setCookie[0]).to.match(/; Max-Age=3600;/);
  });

  it('sets the cookie once, however often it is called', async () => {
    const { setCookie } = await inRequest(async (ctx) => {
      ctx.cookies.set('other', '1');
      for (let i = 0; i < 3; i++) {
        ctx.session.a = i;
        await ctx.session.save();
      }
      ctx.cookies.set('another', '1');
    });
    expect(setCookie.map((line) => line.split('=')[0])).to.deep.equal(['other', 'wsession', 'another']);
  });

  describe('that fails', () => {
    it('rejects, and the response is a 503 without a second call to the store, even if the handler caught the error', async () => {
      for (const cookie of [SOME_COOKIE, 'none=1']) {
        const store = stubStore();
        store.create.rejects(new Error('down'));
        store.update.rejects(new Error('down'));
        const { visitor, errors } = await createSite(
          {
            '/': async (ctx) => {
              ctx.session.a = 1;
              const error = await errorOf(() => ctx.session.save());
              expect(error).to.be.instanceOf(UnavailableError);
              return 'all is well';
            },
          },
          { store: asStore(store) },
        );
        const { status, setCookie, body } = await visitor().get('/', { headers: { cookie } });
        expect([status, setCookie, body]).to.deep.equal([503, [], 'Service Unavailable']);
        expect(store.create.callCount + store.update.callCount).to.equal(1);
        expect(errors.map(({ code }) => code)).to.deep.equal(['WSESSION_UNAVAILABLE']);
      }
    });

    it('can be tried again', async () => {
      const store = stubStore();
      store.update.onFirstCall().rejects(new Error('down'));
      const { status, setCookie } = await inRequest(
        async (ctx) => {
          ctx.session.a = 1;
          await errorOf(() => ctx.session.save());
          await ctx.session.save();
        },
        { store: asStore(store), cookie: SOME_COOKIE },
      );
      expect([status, setCookie.length]).to.deep.equal([200, 1]);
      expect(Object.fromEntries(store.update.secondCall.args[1].set)).to.deep.equal({ a: '1' });
    });

    it('is forgotten once the handler undid the change', async () => {
      const store = stubStore();
      store.create.rejects(new Error('down'));
      const { status, setCookie } = await inRequest(
        async (ctx) => {
          ctx.session.a = 1;
          await errorOf(() => ctx.session.save());
          delete ctx.session.a;
        },
        { store: asStore(store) },
      );
      expect([status, setCookie]).to.deep.equal([200, []]);
    });

    it('because of a value inside an object rejects with a ValueError, and works without it', async () => {
      const store = stubStore();
      const { status } = await inRequest(
        async (ctx) => {
          Object.assign(ctx.session, { a: 1, bad: { nested: /x/ } });
          expect(await errorOf(() => ctx.session.save())).to.be.instanceOf(ValueError);
          expect(store.create.callCount).to.equal(0);
          delete ctx.session.bad;
          await ctx.session.save();
        },
        { store: asStore(store) },
      );
      expect([status, store.create.callCount]).to.deep.equal([200, 1]);
    });

    it('because the session ended responds with 409 without cookies, even if the handler caught the error', async () => {
      const store = stubStore();
      store.update.returns({ outcome: 'gone' }).onFirstCall().returns(UPDATED);
      const { visitor } = await createSite(
        {
          '/': async (ctx) => {
            ctx.cookies.set('other', '1');
            ctx.session.a = 1;
            await ctx.session.save();
            ctx.session.b = 2;
            expect(await errorOf(() => ctx.session.save())).to.be.instanceOf(GoneError);
            return 'all is well';
          },
        },
        { store: asStore(store) },
      );
      const { status, setCookie, body } = await visitor().get('/', { headers: { cookie: SOME_COOKIE } });
      expect([status, setCookie]).to.deep.equal([409, []]);
      expect(body).to.match(/^The session ended during this request/);
    });

    it('because the session ended retracts the cookie that an earlier save set, and no other', async () => {
      const store = stubStore();
      store.update.returns({ outcome: 'gone' }).onFirstCall().returns(UPDATED);
      const { setCookie, status } = await inRequest(
        async (ctx) => {
          ctx.cookies.set('other', '1');
          ctx.session.a = 1;
          await ctx.session.save();
          ctx.session.b = 2;
          await errorOf(() => ctx.session.save());
          delete ctx.session.b;
        },
        { store: asStore(store), cookie: SOME_COOKIE },
      );
      expect([status, setCookie]).to.deep.equal([200, ['other=1; path=/; httponly']]);
    });
  });

  it('runs one at a time, in the order of the calls', async () => {
    const store = stubStore();
    let running = 0;
    store.update.callsFake(async () => {
      expect(++running).to.equal(1);
      await nextTurn();
      running--;
      return UPDATED;
    });
    await inRequest(
      async (ctx) => {
        const saves = [];
        for (let i = 0; i < 4; i++) {
          ctx.session[`k${i}`] = i;
          saves.push(ctx.session.save());
          await Promise.resolve();
        }
        await Promise.all(saves);
      },
      { store: asStore(store), cookie: SOME_COOKIE },
    );
    const stored = store.update.args.flatMap(([, changes]) => [...changes.set.keys()]);
    expect(stored).to.deep.equal(['k0', 'k1', 'k2', 'k3']);
  });

  it('does not delete again what another request wrote after it deleted the key', async () => {
    for (const next of [
      (ctx: Koa.Context) => void (ctx.session.other = 1),
      (ctx: Koa.Context, sessions: Sessions) => sessions.of(ctx).update('other', () => 1),
    ]) {
      const { visitor } = await createSite({
        '/login': (ctx) => void Object.assign(ctx.session, { user: 'ada', n: 1 }),
        '/write': (ctx) => void (ctx.session.n = 7),
        '/slow': async (ctx, sessions) => {
          delete ctx.session.n;
          await ctx.session.save();
          await parallel.get('/write', { headers: { cookie: ada.cookie } });
          await next(ctx, sessions);
        },
        '/get': (ctx) => ({ ...ctx.session }),
      });
      const [ada, parallel] = [visitor(), visitor()];
      await ada.get('/login');
      await ada.get('/slow');
      expect((await ada.get('/get')).json()).to.deep.equal({ user: 'ada', n: 7, other: 1 });
    }
  });

  it('that fails does not stop later calls', async () => {
    const store = stubStore();
    store.update.onFirstCall().rejects(new Error('down'));
    const outcomes = await new Promise((resolve) => {
      void inRequest(
        async (ctx) => {
          ctx.session.a = 1;
          resolve(await Promise.allSettled([ctx.session.save(), ctx.session.save()]));
        },
        { store: asStore(store), cookie: SOME_COOKIE },
      );
    });
    expect((outcomes as PromiseSettledResult<void>[]).map(({ status }) => status)).to.deep.equal([
      'rejected',
      'fulfilled',
    ]);
  });

  it('sets the cookie of a response that the handler sends itself afterwards', async () => {
    const store = new MemoryStore();
    const create = spy(store, 'create');
    const { setCookie } = await inRequest(
      async (ctx) => {
        ctx.session.a = 1;
        await ctx.session.save();
        ctx.res.flushHeaders();
        ctx.res.end('sent');
        ctx.respond = false;
      },
      { store },
    );
    expect([setCookie.length, create.callCount]).to.deep.equal([1, 1]);
  });
});
