import { expect } from 'chai';
import { OptionError, session, UnsupportedError } from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import type { Call, SessionRecord } from 'koa-wsession/store';
import { stub, useFakeTimers } from 'sinon';
import type { Client } from 'testkit/http';
import {
  asStore,
  createSite,
  destroyed,
  errorOf,
  Gate,
  type Handler,
  inRequest,
  jittered,
  OpenStore,
  recordOf,
  type SiteOptions,
  SOME_COOKIE,
  stubStore,
  tidy,
  twinOf,
  UPDATED,
} from './helpers.js';

type Step = [call: string, group?: string];

/** A stub store with an index, whose sessions have these entries; and the order of the writes to both. */
function stubIndexed(entries: Record<string, string> = { n: '1' }) {
  const order: Step[] = [];
  const note =
    <T>(step: Step, answer: T) =>
    (): T => {
      order.push(step);
      return answer;
    };
  const store = stubStore();
  store.load.callsFake(() => recordOf(entries));
  store.create.callsFake(note(['create'], { outcome: 'created' }));
  store.update.callsFake(note(['update'], UPDATED));
  store.destroy.callsFake(() => note(['destroy'], destroyed(entries))());
  const index = {
    add: stub<[string, string, number, Call], unknown>().callsFake((group) => {
      order.push(['add', group]);
      return true;
    }),
    remove: stub<[string, string, Call], unknown>().callsFake((group) => void order.push(['remove', group])),
    keys: stub<[string, Call], unknown>().returns([]),
  };
  return { store, index, order, all: asStore({ ...store, index } as never) };
}

const callsOf = (order: readonly Step[]) => order.map(([call]) => call);

const KEYS = ['A', 'B', 'C'].map((letter) => letter.repeat(43)) as [string, string, string];
const ADAS = { '\0owner': '"ada"' };

const handlers: Record<string, Handler> = {
  '/ada': (ctx, { of }) => of(ctx).logIn('ada', { label: ctx.get('x-label') }),
  '/bob': (ctx, { of }) => of(ctx).logIn('bob'),
  '/change': (ctx) => void (ctx.session.n = (ctx.session.n ?? 0) + 1),
  '/regenerate': (ctx) => ctx.session.regenerate(),
  '/out': (ctx, { of }) => of(ctx).logOut(),
  '/owner': (ctx, { of }) => of(ctx).owner ?? null,
  '/ref': (ctx, { of }) => of(ctx).ref ?? null,
  '/others': (ctx, sessions) => sessions.revoke('ada', { except: ctx }),
};

/** A site, and visitors that are logged in as ada there. */
async function withAda(count: number, options: SiteOptions & { handlers?: Record<string, Handler> } = {}) {
  const site = await createSite({ ...handlers, ...options.handlers }, without(options));
  const visitors = Array.from({ length: count }, () => site.visitor());
  for (const visitor of visitors) await visitor.get('/ada');
  return { ...site, visitors, ada: visitors[0] as Client };
}

function without({ handlers: _, ...options }: SiteOptions & { handlers?: unknown }): SiteOptions {
  return options;
}

/** Runs what is given once, before the first answer of the index is used. */
function afterFirstLook(store: MemoryStore, run: () => Promise<unknown>): void {
  const { keys } = store.index;
  let isFirst = true;
  stub(store.index, 'keys').callsFake((async (...args: Parameters<typeof keys>) => {
    const found = await keys(...args);
    if (isFirst) {
      isFirst = false;
      await run();
    }
    return found;
  }) as never);
}

const ownerOf = async (visitor: Client) => (await visitor.get('/owner')).json();

describe('the index of owners', () => {
  afterEach(tidy);

  it('is told before the record is there, until at least a lifetime after its end', async () => {
    const { store, index, order, all } = stubIndexed();
    await inRequest((ctx, { of }) => of(ctx).logIn('ada'), { store: all });
    expect(callsOf(order)).to.deep.equal(['add', 'create']);
    const [group, key, until] = index.add.firstCall.args;
    const [address, { expiresAt }] = store.create.firstCall.args;
    expect(group).to.match(/^[\w-]{43}$/);
    expect(key).to.equal(address);
    expect(until - expiresAt).to.be.within(3_600_000, 3 * 3_600_000);
  });

  it('forgets the old id of a session that goes on under a new one, last', async () => {
    const { index, order, all, store } = stubIndexed(ADAS);
    const steps = ['add', 'create', 'destroy', 'remove'];
    await inRequest((ctx) => ctx.session.regenerate(), { store: all, cookie: SOME_COOKIE });
    expect(callsOf(order.splice(0))).to.deep.equal(steps);
    expect(index.remove.firstCall.args[1]).to.equal(store.load.firstCall.args[0]);
    await inRequest((ctx, { of }) => of(ctx).logIn('bob'), { store: all, cookie: SOME_COOKIE });
    expect(callsOf(order)).to.deep.equal(steps);
    const [added, removed] = [order[0]?.[1], order[3]?.[1]];
    expect(added, 'of another owner').to.not.equal(removed);
  });

  it('forgets a session that has ended', async () => {
    const { order, all } = stubIndexed(ADAS);
    await inRequest((ctx) => ctx.session.destroy(), { store: all, cookie: SOME_COOKIE });
    expect(callsOf(order)).to.deep.equal(['destroy', 'remove']);
  });

  it('is told of renewals about once a lifetime, and before it would forget', async () => {
    const clock = useFakeTimers({ now: 1_000_000_000, toFake: ['Date'] });
    const store = new MemoryStore({ expire: 100 });
    const add = stub(store.index, 'add').callThrough();
    const { ada, sessions } = await withAda(1, { store });
    for (let i = 0; i < 60; i++) {
      clock.tick(40_000);
      await ada.get('/change');
      expect(await sessions.list('ada')).to.have.length(1);
    }
    expect(add.callCount).to.be.within(1 + 2400 / 200, 1 + 2400 / 100);
  });

  it('that evicted a session gets it again with a renewal', async () => {
    const clock = useFakeTimers({ now: 1_000_000_000, toFake: ['Date'] });
    const store = new MemoryStore({ expire: 100 });
    const add = stub(store.index, 'add').callThrough();
    const { ada, sessions } = await withAda(1, { store });
    const [group, key, , call] = add.firstCall.args;
    await store.index.remove(group, key, call);
    expect(await sessions.list('ada')).to.have.length(0);
    for (let i = 0; i < 4; i++) {
      clock.tick(50_000);
      await ada.get('/change');
    }
    expect(await sessions.list('ada')).to.have.length(1);
    expect(await sessions.revoke('ada')).to.equal(1);
  });

  it('is told before the update that lets a session live longer', async () => {
    const { order, all } = stubIndexed(ADAS);
    const options = { store: all, cookie: SOME_COOKIE };
    await inRequest((ctx) => void (ctx.session.maxAge = 86_400_000), options);
    expect(callsOf(order)).to.deep.equal(['add', 'update']);
  });

  it('is left alone by sessions without an owner', async () => {
    const { order, all } = stubIndexed();
    const options = { store: all, cookie: SOME_COOKIE };
    await inRequest((ctx) => void (ctx.session.a = 1), options);
    await inRequest((ctx) => void (ctx.session.owner = 'ada'), { store: all });
    await inRequest((ctx) => ctx.session.regenerate(), options);
    await inRequest((ctx) => ctx.session.destroy(), options);
    expect(callsOf(order)).to.deep.equal(['update', 'create', 'create', 'destroy', 'destroy']);
  });

  it('that is down at a login: nothing is stored, and the response is a 503', async () => {
    const { store, index, all } = stubIndexed();
    index.add.rejects(new Error('down'));
    const { visitor } = await createSite(handlers, { store: all });
    const { status, setCookie } = await visitor().get('/ada');
    expect([status, setCookie, store.create.callCount]).to.deep.equal([503, [], 0]);
  });

  it('that is down when a session ends: the session has ended all the same', async () => {
    const { index, store, all } = stubIndexed(ADAS);
    index.remove.rejects(new Error('down'));
    const { visitor } = await createSite(handlers, { store: all });
    const { status, setCookie } = await visitor().get('/out', { headers: { cookie: SOME_COOKIE } });
    expect([status, store.destroy.callCount, setCookie.length]).to.deep.equal([200, 1, 1]);
  });

  it('that is down at the end of regenerate(): the visitor has the new id, with all that other requests stored', async () => {
    const store = new MemoryStore();
    stub(store.index, 'remove').throws(new Error('down'));
    const { ada, sessions } = await withAda(1, {
      store,
      handlers: {
        '/slow': async (ctx) => {
          ctx.session.mine = 1;
          await other.get('/change');
          await ctx.session.regenerate();
        },
        '/read': (ctx) => ({ ...ctx.session }),
      },
    });
    const other = twinOf(ada);
    expect((await ada.get('/slow')).status).to.equal(200);
    expect((await ada.get('/read')).json()).to.deep.equal({ mine: 1, n: 1 });
    expect(await sessions.list('ada')).to.have.length(1);
  });

  it('keeps two middlewares on one store apart', async () => {
    const store = new MemoryStore();
    const [one, two] = [await withAda(1, { store, name: 'one' }), await withAda(1, { store, name: 'two' })];
    expect(await one.sessions.revoke('ada')).to.equal(1);
    expect(await two.sessions.list('ada')).to.have.length(1);
  });

  it('of a store without one: an owner is kept, and only list and revoke are missing', async () => {
    const store = new OpenStore();
    const { sessions, ada } = await withAda(1, { store });
    expect(await ownerOf(ada)).to.equal('ada');
    for (const call of [
      () => sessions.list('ada'),
      () => sessions.revoke('ada'),
      () => session(asStore(stubStore())).list('ada'),
    ]) {
      const error = await errorOf(call);
      expect(error).to.be.instanceOf(UnsupportedError);
      expect(error.code).to.equal('WSESSION_UNSUPPORTED');
    }
  });
});

describe('sessions.list(owner, current)', () => {
  afterEach(tidy);

  it('returns the sessions of one owner, newest first, the current one marked', async () => {
    const clock = useFakeTimers({ now: 1_000_000, toFake: ['Date'] });
    const site = await createSite(
      {
        ...handlers,
        '/list': (ctx, { list }) => list('ada', ctx),
        '/list-session': (ctx, { list }) => list('ada', ctx.session),
      },
      { store: new MemoryStore({ expire: 100 }) },
    );
    const [first, second, bob] = [site.visitor(), site.visitor(), site.visitor()];
    await first.get('/change');
    clock.tick(500);
    await first.get('/ada', { headers: { 'x-label': 'Firefox' } });
    clock.tick(500);
    await second.get('/ada');
    await bob.get('/bob');
    clock.tick(1000);
    await first.get('/change');
    const at = (ms: number) => new Date(ms).toISOString();
    const listed = (await first.get('/list')).json();
    expect(listed).to.deep.equal((await first.get('/list-session')).json());
    expect(listed.map(({ ref }: { ref: string }) => ref)).to.deep.equal([
      (await second.get('/ref')).json(),
      (await first.get('/ref')).json(),
    ]);
    expect(listed.map(({ ref, ...rest }: { ref: string }) => rest)).to.deep.equal([
      {
        createdAt: at(1_001_000),
        updatedAt: at(1_001_000),
        expiresAt: at(1_101_000),
        authenticatedAt: at(1_001_000),
        current: false,
        deviceBound: false,
      },
      {
        createdAt: at(1_000_000),
        updatedAt: at(1_002_000),
        expiresAt: at(1_102_000),
        authenticatedAt: at(1_000_500),
        current: true,
        deviceBound: false,
        label: 'Firefox',
      },
    ]);
    expect((await site.sessions.list('bob')).map(({ current }) => current)).to.deep.equal([false]);
    expect(await site.sessions.list('nobody')).to.deep.equal([]);
    clock.tick(99_500);
    expect(await site.sessions.list('ada')).to.have.length(1);
    clock.tick(1000);
    expect(await site.sessions.list('ada')).to.have.length(0);
  });

  it('leaves out what has ended, what is too old, and what the index has of another owner', async () => {
    const { store, index, all } = stubIndexed();
    index.keys.resolves(KEYS);
    const records: Record<string, SessionRecord | string | undefined> = {};
    store.load.callsFake((key) => records[key]);
    const sessions = session(all, { absoluteTimeout: 100 });
    const mine = () => recordOf(ADAS, Date.now() - 1000);
    const [a, b, c] = KEYS;
    for (const [other, last] of [
      [undefined, 'expired'],
      ['corrupt', recordOf({ '\0owner': '"bob"' })],
      [{ by: b, until: Date.now() + 1000 }, undefined],
      [recordOf({}), recordOf(ADAS, Date.now() - 100_001)],
    ]) {
      Object.assign(records, { [a]: other, [b]: mine(), [c]: last });
      expect((await sessions.list('ada')).map(({ ref }) => ref)).to.deep.equal([b]);
    }
  });

  it('returns a session that is regenerated meanwhile under its new id, once', async () => {
    const store = new MemoryStore();
    const { ada, sessions } = await withAda(2, { store });
    afterFirstLook(store, () => ada.get('/regenerate'));
    const listed = (await sessions.list('ada')).map(({ ref }) => ref);
    expect(listed)
      .to.have.length(2)
      .and.include((await ada.get('/ref')).json());
  });

  it('returns all of very many sessions, of which it loads 64 at a time', async () => {
    const { index, store, all } = stubIndexed();
    const keys = Array.from({ length: 150 }, (_, i) => String(i).padStart(43, '0'));
    index.keys.resolves(keys);
    let [loading, most] = [0, 0];
    store.load.callsFake(async () => {
      most = Math.max(most, ++loading);
      await new Promise(setImmediate);
      loading--;
      return recordOf(ADAS);
    });
    const listed = await session(all).list('ada');
    expect(listed.map(({ ref }) => ref).sort()).to.deep.equal(keys);
    expect(most).to.equal(64);
  });

  it('returns a session whose label can’t be read without it', async () => {
    const { index, store, all } = stubIndexed();
    index.keys.resolves([KEYS[0]]);
    store.load.callsFake(() => recordOf({ ...ADAS, '\0label': '{' }));
    expect((await session(all).list('ada')).map(({ label }) => label)).to.deep.equal([undefined]);
  });

  it('and revoke() reject what is no owner, and while the store is down', async () => {
    const { index, all } = stubIndexed();
    const sessions = session(all);
    for (const call of [sessions.list, sessions.revoke]) {
      for (const owner of ['', undefined, null, Number.NaN, {}])
        expect(await errorOf(() => call(owner as never)), String(owner)).to.be.instanceOf(OptionError);
      index.keys.rejects(new Error('down'));
      expect((await errorOf(() => call('ada'))).code).to.equal('WSESSION_UNAVAILABLE');
    }
  });
});

describe('sessions.revoke(owner, options)', () => {
  afterEach(tidy);

  it('ends all of the owner’s sessions, and returns how many', async () => {
    const { sessions, visitors } = await withAda(3);
    expect(await sessions.revoke('bob')).to.equal(0);
    expect(await sessions.revoke('ada')).to.equal(3);
    expect(await sessions.revoke('ada')).to.equal(0);
    for (const visitor of visitors) expect(await ownerOf(visitor)).to.equal(null);
  });

  it('with `except` leaves that one: of a context, or of a session', async () => {
    const { visitors, ada, sessions } = await withAda(3, {
      handlers: { '/others-session': (ctx, { revoke }) => revoke('ada', { except: ctx.session }) },
    });
    expect((await ada.get('/others')).json()).to.equal(2);
    expect(await Promise.all(visitors.map(ownerOf))).to.deep.equal(['ada', null, null]);
    expect((await ada.get('/others-session')).json()).to.equal(0);
    expect(await sessions.list('ada')).to.have.length(1);
  });

  it('with `except` of a visitor without a session ends all', async () => {
    const { visitor } = await withAda(2);
    expect((await visitor().get('/others')).json()).to.equal(2);
  });

  it('with `except` of a request whose id was replaced leaves the session that took its place', async () => {
    const { ada, visitors, sessions } = await withAda(2);
    const late = twinOf(ada);
    await ada.get('/regenerate');
    expect((await late.get('/others')).json()).to.equal(1);
    expect(await Promise.all(visitors.map(ownerOf))).to.deep.equal(['ada', null]);
    expect(await sessions.list('ada')).to.have.length(1);
  });

  it('with `except` of a request whose id was replaced by a session that isn’t known ends all', async () => {
    const { ada, visitors } = await withAda(3, {
      handlers: { '/restart': (ctx) => new Promise<void>((resolve) => ctx.session.regenerate(() => resolve())) },
    });
    const late = twinOf(ada);
    await ada.get('/restart');
    expect((await late.get('/others')).json()).to.equal(2);
    expect(await Promise.all(visitors.map(ownerOf))).to.deep.equal([null, null, null]);
  });

  it('with `only` ends the one with this ref, if it is the owner’s', async () => {
    const { visitors, ada, sessions, visitor } = await withAda(2);
    const only = (await ada.get('/ref')).json();
    const bob = visitor();
    await bob.get('/bob');
    expect(await sessions.revoke('ada', { only: (await bob.get('/ref')).json() })).to.equal(0);
    expect(await sessions.revoke('ada', { only: 'x' })).to.equal(0);
    expect(await sessions.revoke('ada', { only })).to.equal(1);
    expect(await Promise.all([...visitors, bob].map(ownerOf))).to.deep.equal([null, 'ada', 'bob']);
  });

  it('refuses unknown options, and those without a meaning, and ends nothing', async () => {
    const { sessions } = await withAda(2);
    const refused = [
      { only: undefined },
      { except: undefined },
      { only: null },
      { except: null },
      { except: false },
      { except: '' },
      { only: 5 },
      { only: false },
      { excpet: 'x' },
      null,
      'x',
    ];
    for (const options of refused)
      expect(await errorOf(() => sessions.revoke('ada', options as never)), JSON.stringify(options)).to.be.instanceOf(
        OptionError,
      );
    expect(await sessions.list('ada')).to.have.length(2);
  });

  it('is final for a request in flight', async () => {
    const { ada, sessions } = await withAda(1, {
      handlers: {
        '/slow': async (ctx, { revoke }) => {
          ctx.session.late = 1;
          await revoke('ada');
        },
      },
    });
    const { status, setCookie } = await ada.get('/slow');
    expect([status, setCookie, (await sessions.list('ada')).length]).to.deep.equal([409, [], 0]);
  });

  it('ends sessions that are too old by absoluteTimeout, which another process may still accept', async () => {
    const { store, index, all } = stubIndexed();
    index.keys.onFirstCall().returns([KEYS[0]]).returns([]);
    store.load.callsFake(() => recordOf(ADAS, Date.now() - 200_000));
    const sessions = session(all, { absoluteTimeout: 100 });
    expect(await sessions.revoke('ada')).to.equal(1);
    expect(store.destroy.args.map(([key]) => key)).to.deep.equal([KEYS[0]]);
  });

  it('leaves what the index names by mistake: another owner’s session', async () => {
    const { store, index, all } = stubIndexed({ '\0owner': '"bob"' });
    index.keys.returns(KEYS);
    expect(await session(all).revoke('ada')).to.equal(0);
    expect(store.destroy.callCount).to.equal(0);
  });

  it('counts what it ended, not what another process ended meanwhile', async () => {
    const { store, index, all } = stubIndexed(ADAS);
    index.keys.onFirstCall().returns(KEYS).returns([]);
    store.destroy.withArgs(KEYS[1]).returns({ outcome: 'none' });
    expect(await session(all).revoke('ada')).to.equal(2);
    expect(index.remove.callCount).to.equal(2);
  });
});

describe('sessions.revoke(owner), while a session is regenerated', () => {
  afterEach(tidy);

  /** Holds the next call of the method. */
  function hold(store: MemoryStore, method: 'create' | 'destroy'): { arrived: Gate; released: Gate } {
    const gates = { arrived: new Gate(), released: new Gate() };
    const original = store[method].bind(store) as (...args: unknown[]) => unknown;
    stub(store, method)
      .callsFake(original as never)
      .onFirstCall()
      .callsFake((async (...args: unknown[]) => {
        gates.arrived.open();
        await gates.released.passed;
        return original(...args);
      }) as never);
    return gates;
  }

  it('ends it under its new id, which the index didn’t name yet', async () => {
    const store = new MemoryStore();
    const { ada, sessions } = await withAda(1, { store });
    afterFirstLook(store, () => ada.get('/regenerate'));
    expect(await sessions.revoke('ada')).to.equal(1);
    expect(await ownerOf(ada)).to.equal(null);
  });

  it('ends it under its new id, which the index named before its record was stored', async () => {
    const store = new MemoryStore();
    const { ada, sessions } = await withAda(1, { store });
    const { arrived, released } = hold(store, 'create');
    const regenerating = ada.get('/regenerate');
    await arrived.passed;
    const ended = hold(store, 'destroy');
    const revoking = sessions.revoke('ada');
    await ended.arrived.passed; // it has looked for both ids, and is about to end the old one
    released.open();
    expect((await regenerating).status).to.equal(200);
    ended.released.open();
    await revoking;
    expect(await ownerOf(ada)).to.equal(null);
  });

  it('ends it however often it is regenerated (20 rounds)', async () => {
    const { sessions, visitor } = await withAda(0, { store: jittered(new MemoryStore()) });
    for (let round = 0; round < 20; round++) {
      const ada = visitor();
      await ada.get('/ada');
      let isRevoked = false;
      const regenerating = (async () => {
        while (!isRevoked) await ada.get('/regenerate');
      })();
      await sessions.revoke('ada');
      isRevoked = true;
      await regenerating;
      expect(await ownerOf(ada), `round ${round}`).to.equal(null);
      expect(await sessions.list('ada')).to.have.length(0);
    }
  });

  /** Begins to regenerate; resolves at a moment in between. `finish` goes on. */
  type Interrupt = (store: MemoryStore, regenerate: () => Promise<unknown>) => Interrupted;
  interface Interrupted {
    begin(): Promise<unknown>;
    finish(): Promise<unknown>;
  }

  const whenHeld =
    (method: 'create' | 'destroy'): Interrupt =>
    (store, regenerate) => {
      const { arrived, released } = hold(store, method);
      let done: Promise<unknown> | undefined;
      return {
        begin: () => {
          done = regenerate();
          return arrived.passed;
        },
        finish: async () => {
          released.open();
          await done;
        },
      };
    };

  const whenListed =
    (times: number): Interrupt =>
    (store, regenerate) => {
      afterFirstLook(store, async () => {
        for (let i = 0; i < times; i++) await regenerate();
      });
      return { begin: async () => undefined, finish: async () => undefined };
    };

  for (const [what, interrupt] of [
    ['after the index was read', whenListed(1)],
    ['twice, after the index was read', whenListed(2)],
    ['and the index names the new id, whose record isn’t stored yet', whenHeld('create')],
    ['and the new record is stored, and the old one not yet ended', whenHeld('destroy')],
  ] as const) {
    it(`with \`except\` leaves it, when another request regenerates it ${what}`, async () => {
      const store = new MemoryStore();
      const { visitors, sessions } = await withAda(2, {
        store,
        handlers: {
          '/others-slowly': async (ctx, { of, revoke }) => {
            of(ctx).ref; // loaded under the old id
            await interrupted.begin();
            return revoke('ada', { except: ctx });
          },
        },
      });
      const [ada, elsewhere] = visitors as [Client, Client];
      const tab = twinOf(ada);
      const interrupted = interrupt(store, () => ada.get('/regenerate'));
      expect((await tab.get('/others-slowly')).json()).to.equal(1);
      await interrupted.finish();
      expect(ada.cookie).to.not.equal(tab.cookie);
      expect([await ownerOf(ada), await ownerOf(elsewhere)]).to.deep.equal(['ada', null]);
      expect(await sessions.list('ada')).to.have.length(1);
    });
  }
});

describe('sessions.revokeAll()', () => {
  afterEach(tidy);

  it('ends everyone’s sessions that are there, other names’ and anonymous ones included, and returns how many', async () => {
    const store = new MemoryStore();
    const [one, two] = [await withAda(2, { store, name: 'one' }), await withAda(1, { store, name: 'two' })];
    const anonymous = one.visitor();
    await anonymous.get('/change');
    const gone = one.visitor();
    await gone.get('/ada');
    await gone.get('/out');
    expect(await one.sessions.revokeAll()).to.equal(4);
    expect(await one.sessions.revokeAll()).to.equal(0);
    for (const visitor of [...one.visitors, ...two.visitors]) expect(await ownerOf(visitor)).to.equal(null);
    expect((await anonymous.get('/ref')).json()).to.equal(null);
    expect(await one.sessions.list('ada')).to.have.length(0);
  });

  it('ends a session that is regenerated meanwhile (20 rounds)', async () => {
    const { sessions, visitor } = await withAda(0, { store: jittered(new MemoryStore()) });
    for (let round = 0; round < 20; round++) {
      const ada = visitor();
      await ada.get('/ada');
      let isRevoked = false;
      const regenerating = (async () => {
        while (!isRevoked) await ada.get('/regenerate');
      })();
      await sessions.revokeAll();
      isRevoked = true;
      await regenerating;
      expect(await ownerOf(ada), `round ${round}`).to.equal(null);
    }
  });

  it('leaves a session that began since', async () => {
    const clock = useFakeTimers({ now: 1_000_000, toFake: ['Date'] });
    const store = new MemoryStore();
    const { sessions, visitor, ada } = await withAda(1, { store });
    const late = visitor();
    const scan = store.scan.bind(store);
    stub(store, 'scan').callsFake(async function* () {
      if (late.jar.size === 0) {
        clock.tick(1);
        await late.get('/bob');
      }
      yield* scan();
    });
    expect(await sessions.revokeAll()).to.equal(1);
    expect([await ownerOf(ada), await ownerOf(late)]).to.deep.equal([null, 'bob']);
  });

  it('ends a session of a process whose clock is ahead, and none that such a process begins since', async () => {
    const clock = useFakeTimers({ now: 1_010_000, toFake: ['Date'] });
    const store = new MemoryStore();
    const { sessions, visitor, ada } = await withAda(1, { store });
    clock.setSystemTime(1_000_000);
    const [scan, late] = [store.scan.bind(store), visitor()];
    let passes = 0;
    stub(store, 'scan').callsFake(async function* () {
      if (passes++ === 1) {
        clock.setSystemTime(1_020_000);
        await late.get('/bob');
        clock.setSystemTime(1_000_000);
      }
      yield* scan();
    });
    expect(await sessions.revokeAll()).to.equal(1);
    expect([await ownerOf(ada), await ownerOf(late)]).to.deep.equal([null, 'bob']);
  });

  it('is not supported by a store that can’t name its sessions, and rejects while the store is down', async () => {
    expect(await errorOf(() => session(new OpenStore()).revokeAll())).to.be.instanceOf(UnsupportedError);
    const store = new MemoryStore();
    const { sessions } = await withAda(1, { store });
    stub(store, 'destroy').throws(new Error('down'));
    expect((await errorOf(() => sessions.revokeAll())).code).to.equal('WSESSION_UNAVAILABLE');
  });
});
