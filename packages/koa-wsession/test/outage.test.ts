import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect } from 'chai';
import type Koa from 'koa';
import { UnavailableError } from 'koa-wsession';
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
      'by not answering',
      (method) => method.callsFake(() => new Promise(() => undefined)),
      /^The session store didn't answer within 50 ms\. /,
    ],
  ];
  for (const method of METHODS) {
    for (const [how, fail, says] of failures) {
      it(`to ${method}, ${how}, is a 503 that leaves the cookie`, async () => {
        const store = stubStore();
        fail(store[method] as StubStore['load']);
        const [cookie, handler] = needs[method];
        const { visitor, errors } = await createSite(
          { '/': handler },
          { store: asStore(store), timeout: 50 },
        );
        const { status, setCookie, body } = await visitor().get('/', { headers: { cookie } });
        expect([status, setCookie, body]).to.deep.equal([503, [], 'Service Unavailable']);
        expect(errors).to.have.length(1);
        expect(errors[0]).to.be.instanceOf(UnavailableError);
        expect(errors[0]?.message).to.match(says);
        expect(store[method].callCount).to.equal(1);
      });
    }
  }

  it('brings its own error along as the cause', async () => {
    const down = new Error('down');
    const store = stubStore();
    store.load.rejects(down);
    await inRequest(async (ctx) => expect((await errorOf(() => ctx.session.n)).cause).to.equal(down), {
      store: asStore(store),
      cookie: SOME_COOKIE,
    });
  });

  it('to load fails each touch of the session, and none of the pages that leave it alone', async () => {
    const store = stubStore();
    store.load.rejects(new Error('down'));
    const touches: Array<(ctx: Koa.Context) => unknown> = [
      (ctx) => ctx.session,
      (ctx) => void (ctx.session = { a: 1 }),
      (ctx) => void (ctx.session = null),
    ];
    const reply = await inRequest(
      async (ctx) => {
        for (const touch of touches)
          expect(await errorOf(() => touch(ctx))).to.be.instanceOf(UnavailableError);
        return 'handled';
      },
      { store: asStore(store), cookie: SOME_COOKIE },
    );
    expect([reply.status, reply.body, reply.setCookie]).to.deep.equal([200, '"handled"', []]);
    const { visitor } = await createSite({ '/': () => 'fine' }, { store: asStore(store) });
    const { status, headers } = await visitor().get('/', { headers: { cookie: SOME_COOKIE } });
    expect([status, headers.vary, headers['set-cookie']]).to.deep.equal([200, undefined, undefined]);
  });

  it('that works again finds every visitor as before', async () => {
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

  it('is not asked before the first request', async () => {
    const store = stubStore();
    for (const method of METHODS) store[method].throws(new Error('down'));
    const { visitor } = await createSite({ '/': (ctx) => ctx.session.n ?? null }, { store: asStore(store) });
    expect((await visitor().get('/')).status).to.equal(200);
    expect(METHODS.map((method) => store[method].callCount)).to.deep.equal([0, 0, 0, 0]);
  });

  it('is waited for as long as `timeout` says, and no longer', async () => {
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
    store.update.callsFake(async () => ({ outcome: 'updated' }));
    const clock = useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    await inRequest(needs.update[1], { store: asStore(store), cookie: SOME_COOKIE });
    expect([store.update.callCount, clock.countTimers()]).to.deep.equal([1, 0]);
  });

  it('too late is heard by nobody, whatever it says', async () => {
    for (const method of METHODS) {
      for (const late of [() => ({ outcome: 'updated' }), () => Promise.reject(new Error('late'))]) {
        const unhandled = await unhandledDuring(async () => {
          const store = stubStore();
          const answer = new Gate<unknown>();
          store[method].returns(answer.passed.then(late));
          const [cookie, handler] = needs[method];
          const { visitor, errors } = await createSite(
            { '/': handler },
            { store: asStore(store), timeout: 20 },
          );
          const { status, setCookie } = await visitor().get('/', { headers: { cookie } });
          answer.open(undefined);
          await nextTurn();
          expect([status, setCookie, errors.length]).to.deep.equal([503, [], 1]);
        });
        expect(unhandled).to.deep.equal([]);
      }
    }
  });

  it('to load causes no unhandled rejection where nobody touches the session', async () => {
    const unhandled = await unhandledDuring(async () => {
      const store = stubStore();
      store.load.rejects(new Error('down'));
      const { visitor } = await createSite({ '/': () => 'fine' }, { store: asStore(store) });
      await visitor().get('/', { headers: { cookie: SOME_COOKIE } });
    });
    expect(unhandled).to.deep.equal([]);
  });

  it('in a step that nobody awaits causes no unhandled rejection, and is a 503 where something is left to store', async () => {
    const steps: Array<(ctx: Koa.Context) => Promise<unknown>> = [
      (ctx) => ctx.session.destroy(),
      (ctx) => ctx.session.regenerate(),
      (ctx) => ctx.session.update('n', (n) => n + 1),
      (ctx) => {
        ctx.session.n = 5;
        return ctx.session.save();
      },
    ];
    for (const [i, step] of steps.entries()) {
      const unhandled = await unhandledDuring(async () => {
        const store = stubStore();
        for (const method of ['create', 'update', 'destroy'] as const)
          store[method].rejects(new Error('down'));
        const { visitor } = await createSite({ '/': (ctx) => void step(ctx) }, { store: asStore(store) });
        const { status, setCookie } = await visitor().get('/', { headers: { cookie: SOME_COOKIE } });
        if (i === 0 || i === 3) expect(status).to.equal(503);
        expect(setCookie).to.deep.equal([]);
      });
      expect(unhandled).to.deep.equal([]);
    }
  });

  it('by answering garbage to load leaves an anonymous visitor, or an error; never a session', async () => {
    const garbage = [null, '', 'text', 0, 5, true, {}, [], new Map(), { entries: new Map([['n', '1']]) }];
    for (const answer of [
      ...garbage,
      { expiresAt: Number.NaN },
      { ...recordOf({ n: '1' }), expiresAt: 'soon' },
    ]) {
      for (const given of [answer, Promise.resolve(answer)]) {
        const store = stubStore();
        store.load.returns(given);
        const { visitor } = await createSite(
          { '/': (ctx) => ({ ...ctx.session }) },
          { store: asStore(store) },
        );
        const { status, body } = await visitor().get('/', { headers: { cookie: SOME_COOKIE } });
        expect(status === 500 || body === '{}', String(answer)).to.equal(true);
      }
    }
  });

  it('by answering garbage to a write is an error, without a cookie', async () => {
    for (const method of ['create', 'update'] as const) {
      for (const answer of [undefined, null, Promise.resolve(undefined), {}, { outcome: 'conflict' }]) {
        const store = stubStore();
        store[method].returns(answer);
        const [cookie, handler] = needs[method];
        const { visitor, errors } = await createSite({ '/': handler }, { store: asStore(store) });
        const { status, setCookie } = await visitor().get('/', { headers: { cookie } });
        expect([status >= 500, setCookie]).to.deep.equal([true, []]);
        if (answer && 'outcome' in answer)
          expect(errors[0]?.message).to.include(`: it answered ${method} with "conflict".`);
      }
    }
  });
});
