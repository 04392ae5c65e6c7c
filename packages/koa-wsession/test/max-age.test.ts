import { expect } from 'chai';
import { MemoryStore } from 'koa-wsession/memory';
import { openRecord, packRecord } from 'koa-wsession/store';
import { useFakeTimers } from 'sinon';
import {
  asStore,
  createSite,
  errorOf,
  type Handler,
  inRequest,
  OpenStore,
  recordOf,
  SOME_COOKIE,
  stubStore,
  tidy,
} from './helpers.js';

const MINUTE = 60_000;
const DAY = 86_400_000;

/** One request to a session with these entries, which lives for an hour. */
async function visit(handler: Handler, entries: Record<string, string> = { n: '1' }) {
  const store = stubStore();
  store.load.callsFake(() => recordOf(entries));
  const reply = await inRequest(handler, { store: asStore(store), cookie: SOME_COOKIE });
  return { store, ...reply };
}

/** The Max-Age of a response's cookie; `undefined` without. */
const ageOf = ({ setCookie }: { setCookie: readonly string[] }) => /Max-Age=(\d+)/.exec(setCookie[0] ?? '')?.[1];

describe('maxAge', () => {
  afterEach(tidy);

  it('is undefined until it is set, then what was set, on later requests too', async () => {
    const { visitor } = await createSite({
      '/': (ctx) => {
        const before = ctx.session.maxAge;
        ctx.session.maxAge = 30 * DAY;
        ctx.session.a = 1;
        return [before, ctx.session.maxAge];
      },
      '/read': (ctx) => ctx.session.maxAge,
    });
    const ada = visitor();
    expect((await ada.get('/')).json()).to.deep.equal([null, 30 * DAY]);
    expect((await ada.get('/read')).json()).to.equal(30 * DAY);
  });

  it('sets this session’s lifetime, in the store and in the cookie, without another change', async () => {
    const { store, setCookie } = await visit((ctx) => void (ctx.session.maxAge = DAY));
    expect(store.update.callCount).to.equal(1);
    const { set, expiresAt } = store.update.firstCall.args[1];
    expect(expiresAt).to.be.within(Date.now() + DAY - 10_000, Date.now() + DAY);
    expect([...set.values()]).to.deep.equal([String(DAY)]);
    expect(setCookie[0]).to.match(/; Max-Age=86400;/);
  });

  it('set to what it is already resets the expiry', async () => {
    const { store } = await visit((ctx) => void (ctx.session.maxAge = MINUTE), {
      n: '1',
      '\0maxAge': String(MINUTE),
    });
    expect(store.update.callCount).to.equal(1);
    expect(store.update.firstCall.args[1].set.size).to.equal(0);
  });

  it('stays with the session: later changes count from it', async () => {
    const { store, setCookie } = await visit((ctx) => void (ctx.session.n = 2), {
      n: '1',
      '\0maxAge': String(MINUTE),
    });
    expect(store.update.firstCall.args[1].expiresAt).to.be.within(Date.now() + MINUTE - 1000, Date.now() + MINUTE);
    expect(setCookie[0]).to.match(/; Max-Age=60;/);
  });

  it('counts in a new session, too, and stores nothing by itself', async () => {
    const store = stubStore();
    await inRequest(
      async (ctx) => {
        ctx.session.maxAge = MINUTE;
        await ctx.session.save();
        expect(store.create.callCount).to.equal(0);
        ctx.session.a = 1;
      },
      { store: asStore(store) },
    );
    const { createdAt, expiresAt } = store.create.firstCall.args[1];
    expect(expiresAt - createdAt).to.be.within(MINUTE, MINUTE + 50);
  });

  it('is reset by undefined, null and delete', async () => {
    for (const reset of [
      (ctx) => void (ctx.session.maxAge = undefined),
      (ctx) => void (ctx.session.maxAge = null),
      (ctx) => void delete (ctx.session as { maxAge?: unknown }).maxAge,
      (ctx) => void (ctx.session = { n: 1, maxAge: undefined }),
    ] as Handler[]) {
      const { store, setCookie } = await visit(reset, { n: '1', '\0maxAge': String(DAY) });
      expect(store.update.firstCall.args[1].delete).to.deep.equal(['\0maxAge']);
      expect(setCookie[0]).to.match(/; Max-Age=3600;/);
    }
  });

  it('is set by ctx.session = { maxAge, … } and by Object.assign, and stays when only the content is replaced', async () => {
    const { visitor } = await createSite({
      '/replace': (ctx) => void (ctx.session = { a: 1, maxAge: 2 * MINUTE }),
      '/content': (ctx) => void (ctx.session = { b: 1 }),
      '/assign': (ctx) => void Object.assign(ctx.session, { maxAge: 3 * MINUTE, c: 1 }),
      '/end': (ctx) => {
        ctx.session = null;
        ctx.session.d = 1;
      },
      '/read': (ctx) => ({ ...ctx.session }),
    });
    const ada = visitor();
    const ages = [];
    for (const path of ['/replace', '/content', '/assign', '/end']) ages.push(ageOf(await ada.get(path)));
    expect(ages).to.deep.equal(['120', '120', '180', '3600']);
    expect((await ada.get('/read')).json()).to.deep.equal({ d: 1 });
  });

  it('of "session" ends the cookie with the browser, and the record `expire` after the last change', async () => {
    for (const store of [new MemoryStore(), new OpenStore()]) {
      const { visitor } = await createSite(
        {
          '/': (ctx, { of }) => {
            ctx.session.maxAge = 'session';
            ctx.session.n = (ctx.session.n ?? 0) + 1;
            return [ctx.session.maxAge, ctx.session.n, Number(of(ctx).expiresAt)];
          },
        },
        { store },
      );
      const ada = visitor();
      for (let n = 1; n <= 2; n++) {
        const { setCookie, body } = await ada.get('/');
        expect(setCookie[0]).to.match(/^wsession=[\w-]+; Path=\/; HttpOnly; SameSite=Lax$/);
        const [maxAge, counted, expiresAt] = JSON.parse(body);
        expect([maxAge, counted]).to.deep.equal(['session', n]);
        if (n > 1) expect(expiresAt).to.be.within(Date.now() + 3_590_000, Date.now() + 3_600_000);
      }
    }
  });

  it('never goes beyond absoluteTimeout', async () => {
    const store = stubStore();
    const createdAt = Date.now() - 50_000;
    store.load.callsFake(() => recordOf({ n: '1' }, createdAt));
    const { setCookie } = await inRequest((ctx) => void (ctx.session.maxAge = DAY), {
      store: asStore(store),
      cookie: SOME_COOKIE,
      absoluteTimeout: 100,
    });
    expect(store.update.firstCall.args[1].expiresAt).to.equal(createdAt + 100_000);
    expect(setCookie[0]).to.match(/; Max-Age=(49|50);/);
  });

  it('is seen by what save() stores, and by what comes after it', async () => {
    const { store } = await visit(async (ctx) => {
      ctx.session.a = 1;
      await ctx.session.save();
      ctx.session.maxAge = MINUTE;
    });
    const [first, second] = store.update.args.map(([, { expiresAt }]) => Number(expiresAt) - Date.now());
    expect(store.update.callCount).to.equal(2);
    expect(first).to.be.within(3_590_000, 3_600_000);
    expect(second).to.be.within(50_000, MINUTE);
  });

  it('with a fraction becomes an instant that every store can keep', async () => {
    const { store } = await visit((ctx) => void (ctx.session.maxAge = DAY / 7));
    const { expiresAt } = store.update.firstCall.args[1];
    const record = { ...recordOf({}), expiresAt: expiresAt as number };
    expect(openRecord(packRecord('x', record))?.record.expiresAt).to.equal(expiresAt);
    expect(Number.isInteger(expiresAt)).to.equal(true);
  });

  it('takes a minute, and 400 days', async () => {
    for (const maxAge of [MINUTE, 400 * DAY]) {
      const { status } = await visit((ctx) => void (ctx.session.maxAge = maxAge));
      expect(status).to.equal(200);
    }
  });

  it('over plain http, where the store is secure, is an InsecureError; outside the path a PathError', async () => {
    for (const [options, code] of [
      [{ store: new MemoryStore({ secure: true }) }, 'WSESSION_INSECURE'],
      [{ path: '/admin' }, 'WSESSION_PATH'],
    ] as const)
      await inRequest(
        async (ctx) => expect((await errorOf(() => (ctx.session.maxAge = DAY))).code).to.equal(code),
        options,
      );
  });

  it('set after the response is a LateError that names it', async () => {
    const site = await createSite({
      '/login': (ctx) => void (ctx.session.n = 1),
      '/': (ctx) => {
        ctx.res.once('finish', () => void (ctx.session.maxAge = DAY));
        return ctx.session.n;
      },
    });
    const ada = site.visitor();
    await ada.get('/login');
    const reported = site.nextError();
    await ada.get('/');
    expect((await reported).keys).to.deep.equal(['maxAge']);
  });

  it('that the store returns as something else counts as not set', async () => {
    for (const nonsense of ['-5', '0', '"60"', 'null', '~-3', '[60]']) {
      const { setCookie, status } = await visit((ctx) => void (ctx.session.n = 2), {
        n: '1',
        '\0maxAge': nonsense,
      });
      expect([status, setCookie[0]?.includes('; Max-Age=3600;')], nonsense).to.deep.equal([200, true]);
    }
  });

  it('that the store returns damaged is no error, with `rolling` neither', async () => {
    const store = stubStore();
    store.load.callsFake(() => recordOf({ n: '1', '\0maxAge': '{' }, Date.now() - 100_000));
    const { status, body } = await inRequest((ctx) => ctx.session.n, {
      store: asStore(store),
      cookie: SOME_COOKIE,
      rolling: true,
    });
    expect([status, body]).to.deep.equal([200, '1']);
  });
});

describe('a session’s lifetime', () => {
  afterEach(tidy);

  it('is the store’s `expire` after each change, checked by the server, not by the cookie', async () => {
    for (const createStore of [() => new MemoryStore(), () => new OpenStore()]) {
      const clock = useFakeTimers({ now: Date.now(), toFake: ['Date'] });
      const { visitor } = await createSite(
        {
          '/change': (ctx) => void (ctx.session.n = (ctx.session.n ?? 0) + 1),
          '/read': (ctx) => ctx.session.n ?? null,
        },
        { store: createStore() },
      );
      const ada = visitor();
      await ada.get('/change');
      clock.tick(3_599_000);
      await ada.get('/change');
      clock.tick(3_599_000);
      expect((await ada.get('/read')).json()).to.equal(2);
      clock.tick(1000);
      expect((await ada.get('/read')).json()).to.equal(null);
      clock.restore();
    }
  });

  it('ends with absoluteTimeout, counted from the login where there was one', async () => {
    const clock = useFakeTimers({ now: Date.now(), toFake: ['Date'] });
    const { visitor } = await createSite(
      {
        '/change': (ctx) => void (ctx.session.n = (ctx.session.n ?? 0) + 1),
        '/login': (ctx, { of }) => of(ctx).logIn('ada'),
        '/read': (ctx) => ctx.session.n ?? null,
      },
      { absoluteTimeout: 1000 },
    );
    const [ada, bob] = [visitor(), visitor()];
    for (const one of [ada, bob]) await one.get('/change');
    clock.tick(900_000);
    for (const one of [ada, bob]) await one.get('/change');
    await ada.get('/login');
    clock.tick(200_000);
    expect((await ada.get('/read')).json()).to.equal(2);
    expect((await bob.get('/read')).json()).to.equal(null);
    clock.tick(800_000);
    expect((await ada.get('/read')).json()).to.equal(null);
  });
});

describe('persistent: false', () => {
  afterEach(tidy);

  it('ends the cookie with the browser, unless the session has a maxAge of its own', async () => {
    const { visitor } = await createSite(
      {
        '/': (ctx) => void (ctx.session.n = (ctx.session.n ?? 0) + 1),
        '/long': (ctx) => void (ctx.session.maxAge = DAY),
        '/reset': (ctx) => void (ctx.session.maxAge = undefined),
      },
      { persistent: false },
    );
    const ada = visitor();
    const ages = [];
    for (const path of ['/', '/', '/long', '/', '/reset', '/']) ages.push(ageOf(await ada.get(path)));
    expect(ages).to.deep.equal([undefined, undefined, '86400', '86400', undefined, undefined]);
  });

  it('changes nothing in the store', async () => {
    const store = stubStore();
    await inRequest((ctx) => void (ctx.session.a = 1), { store: asStore(store), persistent: false });
    const { createdAt, expiresAt } = store.create.firstCall.args[1];
    expect(expiresAt - createdAt).to.be.within(3_600_000, 3_600_050);
  });
});
