import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect } from 'chai';
import type Koa from 'koa';
import { GoneError, type Sessions } from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import type { Store } from 'koa-wsession/store';
import { stub, useFakeTimers } from 'sinon';
import type { Client } from 'testkit/http';
import { createSite, errorOf, Gate, type Handler, jittered, MarkingStore, tidy, twinOf } from './helpers.js';

/* Guarantee 4: a login survives the requests in flight. */

const STORES: ReadonlyArray<[kind: string, create: () => Store]> = [
  ['kept', () => new MemoryStore()],
  ['sealed', () => new MarkingStore()],
];

const REPLACE: ReadonlyArray<[name: string, replace: (ctx: Koa.Context, sessions: Sessions) => unknown]> = [
  ['regenerate()', (ctx) => ctx.session.regenerate()],
  ['logIn()', (ctx, { of }) => of(ctx).logIn('ada')],
];

const handlers: Record<string, Handler> = {
  '/begin': (ctx) => void (ctx.session.n = 1),
  '/read': (ctx) => ({ data: { ...ctx.session }, isNew: ctx.session.isNew }),
  '/write': (ctx) => void (ctx.session.late = 1),
  '/ada': (ctx, { of }) => of(ctx).logIn('ada'),
  '/owner': (ctx, { of }) => [of(ctx).owner, ctx.session.n],
};

const save: Handler = (ctx) => {
  ctx.session.late = 1;
  return ctx.session.save();
};

const SUCCESSOR = { data: { n: 1 }, isNew: false };

for (const [kind, createStore] of STORES) {
  for (const [name, replace] of REPLACE) {
    describe(`an id that was replaced by ${name}, ${kind}`, () => {
      afterEach(tidy);

      /** The browser with the new id, and a request with the old one. */
      async function replaced(extra: Record<string, Handler> = {}) {
        const site = await createSite(
          { ...handlers, '/replace': (ctx, sessions) => replace(ctx, sessions) as undefined, ...extra },
          { store: createStore() },
        );
        const browser = site.visitor();
        await browser.get('/begin');
        const late = twinOf(browser);
        await browser.get('/replace');
        expect(browser.cookie).to.not.equal(late.cookie);
        return { ...site, browser, late };
      }

      const expectUnharmed = async (browser: Client) =>
        expect((await browser.get('/read')).json()).to.deep.equal(SUCCESSOR);

      it('reads as anonymous, and keeps its cookie', async () => {
        const { late, browser } = await replaced();
        const { status, setCookie, body } = await late.get('/read');
        expect([status, setCookie, JSON.parse(body)]).to.deep.equal([200, [], { data: {}, isNew: true }]);
        await expectUnharmed(browser);
      });

      for (const [what, change] of [
        ['the end of a request with a change', (ctx) => void (ctx.session.late = 1)],
        [
          'save() with a change',
          async (ctx) => {
            ctx.session.late = 1;
            await ctx.session.save();
          },
        ],
        ['update()', (ctx, { of }) => of(ctx).update('late', () => 1)],
        ['flash()', (ctx, { of }) => of(ctx).flash('note', 'x')],
        ['regenerate()', (ctx) => ctx.session.regenerate()],
      ] as ReadonlyArray<[string, Handler]>) {
        it(`${what} is a 409, and sets no cookie`, async () => {
          const { late, browser, errors } = await replaced({ '/late': change });
          const { status, setCookie } = await late.get('/late');
          expect([status, setCookie, errors.map(({ code }) => code)]).to.deep.equal([409, [], ['WSESSION_GONE']]);
          await expectUnharmed(browser);
        });
      }

      it('regenerate(callback) calls back with a GoneError', async () => {
        const { late, browser } = await replaced({
          '/late': (ctx) =>
            new Promise((resolve) => ctx.session.regenerate((error: unknown) => resolve(error instanceof GoneError))),
        });
        const { setCookie, body } = await late.get('/late');
        expect([setCookie, body]).to.deep.equal([[], 'true']);
        await expectUnharmed(browser);
      });

      it('save() without a change is no error', async () => {
        const { late } = await replaced({ '/late': (ctx) => ctx.session.save() });
        const { status, setCookie } = await late.get('/late');
        expect([status, setCookie]).to.deep.equal([200, []]);
      });

      it('may log in, into a session of its own', async () => {
        const { late, browser } = await replaced({ '/bob': (ctx, { of }) => of(ctx).logIn('bob') });
        const { status, setCookie } = await late.get('/bob');
        expect([status, setCookie.length]).to.deep.equal([200, 1]);
        expect((await late.get('/owner')).json()).to.deep.equal(['bob', null]);
        await expectUnharmed(browser);
      });

      it('whose login fails still hands out no cookie', async () => {
        const { late, browser } = await replaced({
          '/fail': async (ctx, { of }) => {
            ctx.session.bad = [() => 1];
            const { code } = await errorOf(() => of(ctx).logIn('bob'));
            delete ctx.session.bad;
            ctx.session.problem = code;
          },
        });
        const { status, setCookie } = await late.get('/fail');
        expect([status, setCookie]).to.deep.equal([409, []]);
        await expectUnharmed(browser);
      });

      for (const [what, end] of [
        ['destroy()', (ctx) => ctx.session.destroy()],
        ['ctx.session = null', (ctx) => void (ctx.session = null)],
        ['logOut()', (ctx, { of }) => of(ctx).logOut()],
      ] as ReadonlyArray<[string, Handler]>) {
        it(`${what} ends nothing, and deletes no cookie`, async () => {
          const { late, browser } = await replaced({ '/late': end });
          const { status, setCookie } = await late.get('/late');
          expect([status, setCookie]).to.deep.equal([200, []]);
          await expectUnharmed(browser);
        });

        it(`what is assigned after ${what} is a 409 as well, which a login after it isn't`, async () => {
          const { late, browser } = await replaced({
            '/late': async (ctx, sessions) => {
              await end(ctx, sessions);
              ctx.session.late = 1;
            },
            '/both': async (ctx, sessions) => {
              await end(ctx, sessions);
              await sessions.of(ctx).logIn('bob');
            },
          });
          const { status, setCookie } = await late.get('/late');
          expect([status, setCookie]).to.deep.equal([409, []]);
          expect((await late.get('/both')).setCookie).to.have.length(1);
          await expectUnharmed(browser);
        });
      }

      it('is an ordinary anonymous visitor’s after a minute', async () => {
        const clock = useFakeTimers({ now: Date.now(), toFake: ['Date'] });
        const { late, browser } = await replaced();
        clock.tick(59_999);
        expect((await late.get('/write')).status).to.equal(409);
        clock.tick(1);
        const { status, setCookie } = await late.get('/write');
        expect([status, setCookie.length]).to.deep.equal([200, 1]);
        expect((await late.get('/read')).json()).to.deep.equal({ data: { late: 1 }, isNew: false });
        await expectUnharmed(browser);
      });

      it('counts less than an id that leads to a session, whichever the browser sends first', async () => {
        const { late, browser } = await replaced();
        for (const cookie of [`${late.cookie}; ${browser.cookie}`, `${browser.cookie}; ${late.cookie}`]) {
          const reply = await late.get('/read', { headers: { cookie } });
          expect(reply.json()).to.deep.equal(SUCCESSOR);
        }
      });

      for (const [what, before, after, expected] of [
        ['a change', undefined, (ctx) => void (ctx.session.late = 1), 409],
        ['a change after another that was saved', save, (ctx) => void (ctx.session.late = 2), 409],
        ['regenerate()', undefined, (ctx) => ctx.session.regenerate(), 409],
        ['ctx.session = null', undefined, (ctx) => void (ctx.session = null), 200],
        ['ctx.session = null, twice', undefined, (ctx) => void (ctx.session = ctx.session = null), 200],
        ['ctx.session = null after a save()', save, (ctx) => void (ctx.session = null), 200],
        ['destroy()', undefined, (ctx) => ctx.session.destroy(), 200],
      ] as ReadonlyArray<[string, Handler | undefined, Handler, number]>) {
        it(`${what}, by a request that had loaded the session before, is a ${expected} that sets and deletes no cookie`, async () => {
          const { visitor } = await createSite(
            {
              ...handlers,
              '/replace': (ctx, sessions) => replace(ctx, sessions) as undefined,
              '/slow': async (ctx, sessions) => {
                ctx.session.n;
                await before?.(ctx, sessions);
                await browser.get('/replace');
                await after(ctx, sessions);
              },
            },
            { store: createStore() },
          );
          const browser = visitor();
          await browser.get('/begin');
          const { status, setCookie } = await twinOf(browser).get('/slow');
          expect([status, setCookie]).to.deep.equal([expected, []]);
          expect((await browser.get('/owner')).json()[1]).to.equal(1);
        });
      }

      it('three parallel writes that come before, during and after leave the browser with the new id (100 rounds)', async () => {
        const site = await createSite(
          { ...handlers, '/replace': (ctx, sessions) => replace(ctx, sessions) as undefined },
          { store: jittered(createStore()) },
        );
        for (let round = 0; round < 100; round++) {
          const browser = site.visitor();
          await browser.get('/begin');
          const cookie = browser.cookie;
          const headers = { cookie }; // what the browser sends until it gets another cookie
          // The login is fourth at the latest; the writes begin up to a few turns around it.
          const turn = async (delay: number, path: string) => {
            for (let i = 0; i < delay; i++) await nextTurn();
            return browser.get(path, { headers });
          };
          const [login, ...writes] = await Promise.all([
            turn(round % 4, '/replace'),
            ...[0, 1, 2].map((write) => turn((write * round) % 7, '/write')),
          ]);
          expect(login?.status).to.equal(200);
          for (const { status } of writes) expect(status).to.be.oneOf([200, 409]);
          expect(browser.cookie, `round ${round}`).to.equal(login?.setCookie[0]?.split(';')[0]);
          expect((await browser.get('/owner')).json()[1], `round ${round}`).to.equal(1);
        }
      });
    });
  }
}

describe('an id that ended', () => {
  afterEach(tidy);

  for (const [what, end] of [
    ['a logout', (ctx, { of }) => of(ctx).logOut()],
    ['destroy()', (ctx) => ctx.session.destroy()],
    ['revoke()', (_ctx, { revoke }) => revoke('ada').then(() => undefined)],
    ['revokeAll()', (_ctx, { revokeAll }) => revokeAll().then(() => undefined)],
  ] as ReadonlyArray<[string, Handler]>) {
    it(`by ${what} leaves no mark: the visitor gets a fresh anonymous session at once`, async () => {
      const clock = useFakeTimers({ now: Date.now(), toFake: ['Date'] });
      const { visitor } = await createSite({ ...handlers, '/end': end });
      const browser = visitor();
      await browser.get('/begin');
      await browser.get('/ada');
      const late = twinOf(browser);
      clock.tick(1);
      await browser.get('/end');
      const { status, setCookie } = await late.get('/write');
      expect([status, setCookie.length]).to.deep.equal([200, 1]);
      expect((await late.get('/read')).json()).to.deep.equal({ data: { late: 1 }, isNew: false });
    });
  }

  it('whose session is the one that replaced another: that other id is a replaced one all the same', async () => {
    const { visitor } = await createSite({ ...handlers, '/end': (ctx) => ctx.session.destroy() });
    const browser = visitor();
    await browser.get('/begin');
    const late = twinOf(browser);
    await browser.get('/ada');
    await browser.get('/end');
    expect((await late.get('/write')).status).to.equal(409);
  });

  it('in a store that forgot its mark is an anonymous visitor’s', async () => {
    const store = new MemoryStore();
    const destroy = store.destroy.bind(store);
    store.destroy = (key, { replaced: _, ...call }) => destroy(key, call);
    const { visitor } = await createSite(handlers, { store });
    const browser = visitor();
    await browser.get('/begin');
    const late = twinOf(browser);
    await browser.get('/ada');
    expect((await late.get('/write')).status).to.equal(200);
    expect((await late.get('/read')).json()).to.deep.equal({ data: { late: 1 }, isNew: false });
  });

  it('by a login between an explicit save() and the end of the request: the saved cookie is taken back', async () => {
    const [saved, released] = [new Gate(), new Gate()];
    const { visitor, sessions } = await createSite({
      '/set': (ctx) => void (ctx.session.n = 1),
      '/slow': async (ctx) => {
        ctx.session.n = 2;
        await ctx.session.save();
        saved.open();
        await released.passed;
        const now = performance.now();
        stub(performance, 'now').returns(now + 20); // past the moment in which it isn't looked at again
      },
      '/login': (ctx) => sessions.of(ctx).logIn('ada'),
    });
    const ada = visitor();
    await ada.get('/set');
    const slow = visitor().get('/slow', { headers: { cookie: ada.cookie } });
    await saved.passed;
    await ada.get('/login');
    released.open();
    const { status, setCookie } = await slow;
    expect([status, setCookie]).to.deep.equal([200, []]);
  });

  for (const [what, use, rolling] of [
    ['a change', (ctx) => void (ctx.session.n = 2), false],
    ['a renewal', (ctx) => void ctx.session.n, true],
  ] as ReadonlyArray<[string, Handler, boolean]>) {
    it(`by a login while a middleware in front delays the response to ${what}: its cookie is taken back`, async () => {
      const [saved, released] = [new Gate(), new Gate()];
      const { visitor, sessions } = await createSite(
        {
          '/set': (ctx) => void (ctx.session.n = 1),
          '/slow': use,
          '/login': (ctx) => sessions.of(ctx).logIn('ada'),
        },
        {
          rolling,
          before: [
            async (ctx, next) => {
              const now = Date.now();
              if (ctx.path === '/slow') stub(Date, 'now').returns(now + 1000); // a renewal is due
              await next();
              if (ctx.path !== '/slow') return;
              saved.open();
              await released.passed;
              const later = performance.now() + 20;
              stub(performance, 'now').returns(later);
            },
          ],
        },
      );
      const ada = visitor();
      await ada.get('/set');
      const slow = visitor().get('/slow', { headers: { cookie: ada.cookie } });
      await saved.passed;
      await ada.get('/login');
      released.open();
      const { status, setCookie } = await slow;
      expect([status, setCookie]).to.deep.equal([200, []]);
    });
  }
});
