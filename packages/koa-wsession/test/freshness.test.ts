import { expect } from 'chai';
import Koa from 'koa';
import { NotFreshError, OptionError, session } from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import type { Store } from 'koa-wsession/store';
import { type SinonFakeTimers, useFakeTimers } from 'sinon';
import { Client } from 'testkit/http';
import { createSite, errorOf, MarkingStore, type Site, serveApp, tidy, twinOf } from './helpers.js';

const STORES: ReadonlyArray<[kind: string, create: () => Store]> = [
  ['kept', () => new MemoryStore()],
  ['sealed', () => new MarkingStore()],
];

const startClock = (): SinonFakeTimers => useFakeTimers({ now: 1_000_000, toFake: ['Date'] });

for (const [kind, createStore] of STORES) {
  describe(`confirm(), ${kind}`, () => {
    afterEach(tidy);

    const open = (options = {}): Promise<Site> =>
      createSite(
        {
          '/login': async (ctx, { of }) => {
            ctx.session.cart = ['book'];
            of(ctx).flash('note', 'welcome');
            await of(ctx).logIn('ada', { label: 'Firefox', maxAge: 7_200_000 });
          },
          '/visit': (ctx) => void (ctx.session.cart = ['book']),
          '/confirm': async (ctx, { of }) => {
            ctx.session.seen = true;
            await of(ctx).confirm();
          },
          '/read': (ctx, { of }) => {
            const { owner, label, authenticatedAt, createdAt } = of(ctx);
            const times = [createdAt, authenticatedAt].map((at) => at && at.getTime() / 1000);
            return {
              data: { ...ctx.session },
              maxAge: ctx.session.maxAge,
              owner,
              label,
              times,
              isFresh: of(ctx).isFresh(60),
            };
          },
          '/notes': (ctx, { of }) => of(ctx).takeFlash('note'),
        },
        { store: createStore(), ...options },
      );

    it('stamps the time, under a new id, with the same content, owner, label, lifetime and messages', async () => {
      const clock = startClock();
      const ada = (await open()).visitor();
      await ada.get('/login');
      const thief = twinOf(ada);
      clock.tick(100_000);
      expect((await ada.get('/read')).json().isFresh).to.equal(false);
      await ada.get('/confirm');
      expect((await ada.get('/read')).json()).to.deep.equal({
        data: { cart: ['book'], seen: true },
        maxAge: 7_200_000,
        owner: 'ada',
        label: 'Firefox',
        times: [1000, 1100],
        isFresh: true,
      });
      expect((await ada.get('/notes')).json()).to.deep.equal(['welcome']);
      expect((await thief.get('/read')).json().owner, 'the old id').to.equal(undefined);
    });

    it('lets the absolute timeout count from now', async () => {
      const clock = startClock();
      const ada = (await open({ absoluteTimeout: 5000 })).visitor();
      await ada.get('/login');
      clock.tick(3_000_000);
      await ada.get('/confirm');
      clock.tick(3_000_000);
      expect((await ada.get('/read')).json().owner).to.equal('ada');
      clock.tick(3_000_000);
      expect((await ada.get('/read')).json().owner).to.equal(undefined);
    });

    it('where nobody is logged in is a NotFreshError, a 401, and the session keeps its id', async () => {
      const { visitor, errors } = await open();
      for (const before of [undefined, '/visit']) {
        const bob = visitor();
        if (before) await bob.get(before);
        const id = bob.jar.get('wsession')?.slice(0, 32);
        expect((await bob.get('/confirm')).status).to.equal(401);
        if (id && kind === 'kept') expect(bob.jar.get('wsession')).to.equal(id);
        const { owner, data, times } = (await bob.get('/read')).json();
        expect([owner, data.seen, times[1]]).to.deep.equal([undefined, true, null]);
      }
      expect(errors.map(({ code }) => code)).to.deep.equal(['WSESSION_NOT_FRESH', 'WSESSION_NOT_FRESH']);
    });
  });
}

describe('confirm()', () => {
  afterEach(tidy);

  it('in a session that was ended meanwhile is a GoneError, and nothing comes back', async () => {
    const { visitor, sessions } = await createSite({
      '/login': (ctx, { of }) => of(ctx).logIn('ada'),
      '/confirm': async (ctx, { of }) => {
        await sessions.revoke('ada');
        await of(ctx).confirm();
      },
    });
    const ada = visitor();
    await ada.get('/login');
    expect((await ada.get('/confirm')).status).to.equal(409);
    expect(await sessions.list('ada')).to.deep.equal([]);
  });
});

describe('requireFresh(seconds)', () => {
  afterEach(tidy);

  async function openBank() {
    const app = new Koa();
    app.silent = true;
    const sessions = session(new MemoryStore());
    app.use(async (ctx, next) => {
      try {
        await next();
      } catch (error) {
        if ((error as NotFreshError).code !== 'WSESSION_NOT_FRESH' || ctx.get('accept') !== 'text/html') throw error;
        ctx.redirect('/password');
      }
    });
    app.use(sessions);
    app.use(async (ctx, next) => {
      if (ctx.path === '/login') await sessions.of(ctx).logIn('ada');
      else if (ctx.path === '/confirm') await sessions.of(ctx).confirm();
      else return next();
      ctx.body = 'ok';
    });
    app.use(sessions.requireFresh(300));
    app.use((ctx) => {
      ctx.body = 'paid';
    });
    return new Client(await serveApp(app));
  }

  it('lets a request pass up to so many seconds after the login; then not, until the owner confirms', async () => {
    const clock = startClock();
    const ada = await openBank();
    await ada.get('/login');
    clock.tick(300_000);
    expect((await ada.get('/pay')).body).to.equal('paid');
    clock.tick(1);
    const { status, body } = await ada.get('/pay');
    expect([status, body]).to.deep.equal([
      401,
      'This needs a login in the last 300 seconds: enter the password again.',
    ]);
    await ada.get('/confirm');
    expect((await ada.get('/pay')).body).to.equal('paid');
  });

  it('refuses an anonymous visitor', async () => {
    expect((await (await openBank()).get('/pay')).status).to.equal(401);
  });

  it('has a code that a middleware in front can turn into a password page', async () => {
    const reply = await (await openBank()).get('/pay', { headers: { accept: 'text/html' } });
    expect([reply.status, reply.headers.location]).to.deep.equal([302, '/password']);
  });

  it('takes seconds from 0: an OptionError when the app starts', async () => {
    const sessions = session(new MemoryStore());
    for (const bad of [-1, Number.NaN, '5', undefined])
      expect(await errorOf(() => sessions.requireFresh(bad as never)), String(bad)).to.be.instanceOf(OptionError);
    expect(new NotFreshError(5).status).to.equal(401);
  });
});
