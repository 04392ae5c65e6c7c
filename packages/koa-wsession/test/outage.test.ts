import { execFile } from 'node:child_process';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect } from 'chai';
import type Koa from 'koa';
import { LateError, UnavailableError } from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import { stub, useFakeTimers } from 'sinon';
import {
  asStore,
  createSite,
  errorOf,
  Gate,
  inRequest,
  recordOf,
  SOME_COOKIE,
  type StubStore,
  stubStore,
  tidy,
  UPDATED,
} from './helpers.js';

const METHODS = ['load', 'create', 'update', 'destroy'] as const;

/** A request that needs this method of the store. */
const needs: Record<(typeof METHODS)[number], [cookie: string, handler: (ctx: Koa.Context) => unknown]> = {
  load: [SOME_COOKIE, (ctx) => ctx.session.n],
  create: ['none=1', (ctx) => void (ctx.session.n = 5)],
  update: [SOME_COOKIE, (ctx) => void (ctx.session.n = 5)],
  destroy: [SOME_COOKIE, (ctx) => void (ctx.session = null)],
};

/** Rejections that nobody took care of while `body` ran. */
async function unhandledDuring(body: () => Promise<void>): Promise<unknown[]> {
  const unhandled: unknown[] = [];
  const listeners = process.listeners('unhandledRejection');
  process.removeAllListeners('unhandledRejection');
  const note = (reason: unknown) => unhandled.push(reason);
  process.on('unhandledRejection', note);
  try {
    await body();
    await nextTurn();
    await nextTurn();
  } finally {
    process.off('unhandledRejection', note);
    for (const listener of listeners) process.on('unhandledRejection', listener);
  }
  return unhandled;
}

describe('a store that fails', () => {
  afterEach(tidy);

  const failures: ReadonlyArray<[how: string, fail: (method: StubStore['load']) => unknown, says: RegExp]> = [
    ['by rejecting', (method) => method.rejects(new Error('down')), /^The session store failed: down\. /],
    ['by throwing', (method) => method.throws(new Error('down')), /^The session store failed: down\. /],
    [
      'by rejecting with no error',
      (method) => method.callsFake(() => Promise.reject('down')),
      /^The session store failed: down\. /,
    ],
    [
      'by rejecting with nothing',
      (method) => method.callsFake(() => Promise.reject(undefined)),
      /^The session store failed: undefined\. /,
    ],
    [
      'by rejecting with an object that is no string',
      (method) => method.callsFake(() => Promise.reject(Object.create(null))),
      /^The session store failed: it threw a non-Error value\. /,
    ],
    [
      'by not responding',
      (method) => method.callsFake(() => new Promise(() => undefined)),
      /^The session store did not respond within 50 ms\. /,
    ],
  ];
  for (const method of METHODS) {
    for (const [how, fail, says] of failures) {
      it(`to ${method}, ${how}, is a 503 that leaves the cookie`, async () => {
        const store = stubStore();
        fail(store[method] as StubStore['load']);
        const [cookie, handler] = needs[method];
        const { visitor, errors } = await createSite({ '/': handler }, { store: asStore(store), timeout: 50 });
        const { status, setCookie, body } = await visitor().get('/', { headers: { cookie } });
        expect([status, setCookie, body]).to.deep.equal([503, [], 'Service Unavailable']);
        expect(errors).to.have.length(1);
        expect(errors[0]).to.be.instanceOf(UnavailableError);
        expect(errors[0]?.message).to.match(says);
        expect(store[method].callCount).to.equal(1);
      });
    }
  }

  it('has its own error as the cause', async () => {
    const down = new Error('down');
    const store = stubStore();
    store.load.rejects(down);
    await inRequest(async (ctx) => expect((await errorOf(() => ctx.session.n)).cause).to.equal(down), {
      store: asStore(store),
      cookie: SOME_COOKIE,
    });
  });

  it('to load fails each use of the session, and none of the pages that leave it alone', async () => {
    const store = stubStore();
    store.load.rejects(new Error('down'));
    const touches: Array<(ctx: Koa.Context) => unknown> = [
      (ctx) => ctx.session,
      (ctx) => void (ctx.session = { a: 1 }),
      (ctx) => void (ctx.session = null),
    ];
    const reply = await inRequest(
      async (ctx) => {
        for (const touch of touches) expect(await errorOf(() => touch(ctx))).to.be.instanceOf(UnavailableError);
        return 'handled';
      },
      { store: asStore(store), cookie: SOME_COOKIE },
    );
    expect([reply.status, reply.body, reply.setCookie]).to.deep.equal([200, '"handled"', []]);
    const { visitor } = await createSite({ '/': () => 'fine' }, { store: asStore(store) });
    const { status, headers } = await visitor().get('/', { headers: { cookie: SOME_COOKIE } });
    expect([status, headers.vary, headers['set-cookie']]).to.deep.equal([200, undefined, undefined]);
  });

  it('loses no visitor once it works again', async () => {
    const store = new MemoryStore();
    const { visitor } = await createSite(
      {
        '/': (ctx) => {
          ctx.session.n = (ctx.session.n ?? 0) + 1;
          return ctx.session.n;
        },
      },
      { store },
    );
    const ada = visitor();
    await ada.get('/');
    const outage = METHODS.map((method) => stub(store, method).throws(new Error('down')));
    for (let i = 0; i < 3; i++) expect((await ada.get('/')).status).to.equal(503);
    for (const method of outage) method.restore();
    expect((await ada.get('/')).json()).to.equal(2);
  });

  it('is not called before it is needed', async () => {
    const store = stubStore();
    for (const method of METHODS) store[method].throws(new Error('down'));
    const { visitor } = await createSite({ '/': (ctx) => ctx.session.n ?? null }, { store: asStore(store) });
    expect((await visitor().get('/')).status).to.equal(200);
    expect(METHODS.map((method) => store[method].callCount)).to.deep.equal([0, 0, 0, 0]);
  });

  it('is waited for as long as the option timeout says', async () => {
    const store = stubStore();
    const answer = new Gate<unknown>();
    store.update.returns(answer.passed);
    const clock = useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const { visitor } = await createSite({ '/': needs.update[1] }, { store: asStore(store), timeout: 700 });
    let status: number | undefined;
    const reply = visitor()
      .get('/', { headers: { cookie: SOME_COOKIE } })
      .then((it) => {
        status = it.status;
      });
    while (!store.update.called) await nextTurn();
    clock.tick(699);
    for (let i = 0; i < 5; i++) await nextTurn();
    expect(status).to.equal(undefined);
    clock.tick(1);
    await reply;
    expect(status).to.equal(503);
    expect(clock.countTimers()).to.equal(0);
  });

  it('leaves no timer behind when it answers', async () => {
    const store = stubStore();
    store.load.callsFake(async () => recordOf({ n: '1' }));
    store.update.callsFake(async () => UPDATED);
    const clock = useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    await inRequest(needs.update[1], { store: asStore(store), cookie: SOME_COOKIE });
    expect([store.update.callCount, clock.countTimers()]).to.deep.equal([1, 0]);
  });

  it('causes no unhandled rejection by what it answers too late', async () => {
    for (const method of METHODS) {
      for (const late of [() => UPDATED, () => Promise.reject(new Error('late'))]) {
        const unhandled = await unhandledDuring(async () => {
          const store = stubStore();
          const answer = new Gate<unknown>();
          store[method].returns(answer.passed.then(late));
          const [cookie, handler] = needs[method];
          const { visitor, errors } = await createSite({ '/': handler }, { store: asStore(store), timeout: 20 });
          const { status, setCookie } = await visitor().get('/', { headers: { cookie } });
          answer.open(undefined);
          await nextTurn();
          expect([status, setCookie, errors.length]).to.deep.equal([503, [], 1]);
        });
        expect(unhandled).to.deep.equal([]);
      }
    }
  });

  it('to load causes no unhandled rejection on a page that leaves the session alone', async () => {
    const unhandled = await unhandledDuring(async () => {
      const store = stubStore();
      store.load.rejects(new Error('down'));
      const { visitor } = await createSite({ '/': () => 'fine' }, { store: asStore(store) });
      await visitor().get('/', { headers: { cookie: SOME_COOKIE } });
    });
    expect(unhandled).to.deep.equal([]);
  });

  it('by returning garbage from load leaves an anonymous visitor, or an error; never a session', async () => {
    const garbage = [null, '', 'text', 0, 5, true, {}, [], new Map(), { entries: new Map([['n', '1']]) }];
    for (const answer of [...garbage, { expiresAt: Number.NaN }, { ...recordOf({ n: '1' }), expiresAt: 'soon' }]) {
      for (const given of [answer, Promise.resolve(answer)]) {
        const store = stubStore();
        store.load.returns(given);
        const { visitor } = await createSite({ '/': (ctx) => ({ ...ctx.session }) }, { store: asStore(store) });
        const { status, body } = await visitor().get('/', { headers: { cookie: SOME_COOKIE } });
        expect(status === 500 || body === '{}', String(answer)).to.equal(true);
      }
    }
  });

  it('by returning garbage from a write is an error, without a cookie', async () => {
    for (const method of ['create', 'update'] as const) {
      for (const answer of [undefined, null, Promise.resolve(undefined), {}, { outcome: 'conflict' }]) {
        const store = stubStore();
        store[method].returns(answer);
        const [cookie, handler] = needs[method];
        const { visitor, errors } = await createSite({ '/': handler }, { store: asStore(store) });
        const { status, setCookie } = await visitor().get('/', { headers: { cookie } });
        expect([status >= 500, setCookie]).to.deep.equal([true, []]);
        if (answer && 'outcome' in answer) expect(errors[0]?.message).to.include(`: ${method} returned "conflict".`);
      }
    }
  });

  it('may return promises of another library', async () => {
    const store = stubStore();
    const record = recordOf({ user: '"ada"' });
    // biome-ignore lint/suspicious/noThenProperty: a promise of another library
    store.load.callsFake(() => ({ then: (resolve: (value: unknown) => void) => resolve(record) }));
    const { body } = await inRequest((ctx) => ctx.session.user, { store: asStore(store), cookie: SOME_COOKIE });
    expect(body).to.equal('"ada"');
  });
});

describe('during an outage, a session that could not be loaded', () => {
  afterEach(tidy);

  it('throws its 503 anywhere in the chain of middleware, in front of ours included', async () => {
    const store = stubStore();
    store.load.rejects(new Error('down'));
    const seen: unknown[] = [];
    const { visitor } = await createSite(
      { '/': (ctx) => ctx.session.user },
      {
        store: asStore(store),
        before: [
          async (ctx, next) => {
            await next().catch((error) => seen.push(error));
            seen.push(await errorOf(() => ctx.session), await errorOf(() => ctx.session));
            throw seen[0];
          },
        ],
      },
    );
    expect((await visitor().get('/', { headers: { cookie: SOME_COOKIE } })).status).to.equal(503);
    expect(seen).to.have.length(3);
    for (const error of seen) expect(error).to.be.instanceOf(UnavailableError).and.equal(seen[0]);
  });

  it('reads as empty in an error listener and in an access log', async () => {
    const store = stubStore();
    store.load.rejects(new Error('down'));
    const seen: unknown[] = [];
    const { app, visitor } = await createSite(
      { '/': (ctx) => ctx.session.user },
      {
        store: asStore(store),
        before: [
          (ctx, next) => {
            ctx.res.once('finish', () => seen.push({ ...ctx.session }, ctx.session.isNew));
            return next();
          },
        ],
      },
    );
    app.on('error', (_error, ctx: Koa.Context) => seen.push({ ...ctx.session }, ctx.session.user));
    const { status, setCookie } = await visitor().get('/', { headers: { cookie: SOME_COOKIE } });
    expect([status, setCookie]).to.deep.equal([503, []]);
    await nextTurn();
    expect(seen).to.deep.equal([{}, undefined, {}, true]);
  });

  it('makes a write there one LateError event, after the others, and calls no store', async () => {
    const store = stubStore();
    store.load.rejects(new Error('down'));
    const { app, visitor, errors } = await createSite(
      { '/': (ctx) => ctx.session.user },
      {
        store: asStore(store),
        before: [
          (ctx, next) => {
            ctx.res.once('finish', () => void (ctx.session.logged = true));
            return next();
          },
        ],
      },
    );
    app.on('error', (_error, ctx: Koa.Context) => void (ctx.session[`error${errors.length}`] = true));
    await visitor().get('/', { headers: { cookie: SOME_COOKIE } });
    for (let i = 0; i < 5; i++) await nextTurn();
    expect(errors.map(({ code }) => code)).to.deep.equal(['WSESSION_UNAVAILABLE', 'WSESSION_LATE']);
    expect(errors[1]).to.be.instanceOf(LateError);
    expect([store.create.callCount, store.update.callCount]).to.deep.equal([0, 0]);
  });
});

describe('a session that was loaded', () => {
  afterEach(tidy);

  it('shows its content in an error listener, after an ordinary 500 and after a failed save', async () => {
    const store = stubStore();
    store.load.callsFake(() => recordOf({ user: '"ada"' }));
    store.update.rejects(new Error('down'));
    const seen: unknown[] = [];
    const { app, visitor } = await createSite(
      {
        '/crash': () => Promise.reject(new Error('mine')),
        '/save': (ctx) => void (ctx.session.n = 1),
      },
      { store: asStore(store) },
    );
    app.on('error', (_error, ctx: Koa.Context) => seen.push(ctx.session.user));
    const headers = { cookie: SOME_COOKIE };
    expect((await visitor().get('/crash', { headers })).status).to.equal(500);
    expect((await visitor().get('/save', { headers })).status).to.equal(503);
    expect(seen).to.deep.equal(['ada', 'ada']);
  });

  it('shows its content in an access log', async () => {
    const finished = new Gate<unknown>();
    const { visitor } = await createSite(
      { '/': (ctx) => void (ctx.session.user = 'ada') },
      {
        before: [
          (ctx, next) => {
            ctx.res.once('finish', () => finished.open({ ...ctx.session }));
            return next();
          },
        ],
      },
    );
    await visitor().get('/');
    expect(await finished.passed).to.deep.equal({ user: 'ada' });
  });
});

describe('no outage ends the process:', () => {
  const program = fileURLToPath(new URL('../test/fixtures/outage.mjs', import.meta.url));

  /** What a process of its own, which prints a line for each request, says about them. */
  let outcomes: Record<string, unknown>;
  let failure: unknown;

  before(async () => {
    const run = promisify(execFile)(process.execPath, [program]);
    const { stdout } = await run.catch((error) => {
      failure = error; // with the lines up to the request that ended the process
      return error as { stdout: string };
    });
    outcomes = Object.fromEntries(
      stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line)),
    );
  });

  const down = 'WSESSION_UNAVAILABLE';
  const late = 'WSESSION_LATE';
  const expected: Record<string, { status: number; events: string[] }> = {
    'reads in listeners': { status: 503, events: [down] },
    'writes in listeners': { status: 503, events: [down, late] },
    'writes in listeners of a page that leaves the session alone': { status: 200, events: [late] },
    'no listener': { status: 503, events: [] },
  };
  for (const step of ['update', 'two updates', 'save', 'regenerate', 'destroy', 'logIn', 'takeFlash']) {
    expected[`floating ${step}`] = { status: 503, events: [down] };
    const needsToken = step === 'regenerate' || step === 'logIn';
    expected[`floating ${step}, later`] = { status: 200, events: [needsToken ? late : down] };
  }
  expected['floating update whose function throws'] = { status: 500, events: ['mine'] };
  expected['floating update whose function throws, later'] = { status: 200, events: ['mine'] };

  for (const [scenario, outcome] of Object.entries(expected))
    it(`${scenario}: a ${outcome.status}, and ${outcome.events.join(', ') || 'no event'}`, () => {
      expect(outcomes[scenario], String(failure)).to.deep.equal(outcome);
    });

  it('and the process ends by itself', () => {
    expect([failure, Object.keys(outcomes).sort()]).to.deep.equal([undefined, Object.keys(expected).sort()]);
  });
});
