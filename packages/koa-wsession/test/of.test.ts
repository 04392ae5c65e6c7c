import { expect } from 'chai';
import { MiddlewareOrderError, OptionError, session } from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import { useFakeTimers } from 'sinon';
import { createSite, errorOf, inRequest, MarkingStore, tidy } from './helpers.js';

describe('sessions.of(ctx)', () => {
  afterEach(tidy);

  it('shows nothing but undefined while nothing is stored', async () => {
    await inRequest((ctx, { of }) => {
      ctx.session.a = 1;
      const { owner, label, ref, createdAt, expiresAt, authenticatedAt } = of(ctx);
      expect([owner, label, ref, createdAt, expiresAt, authenticatedAt]).to.deep.equal(Array(6).fill(undefined));
      expect(of(ctx).isFresh(1e9)).to.equal(false);
    });
  });

  it('ref follows the session: another one after a login and regenerate(), undefined at the end', async () => {
    for (const store of [new MemoryStore(), new MarkingStore()]) {
      const refs: Array<string | undefined> = [];
      const { setCookie } = await inRequest(
        async (ctx, { of }) => {
          const note = () => refs.push(of(ctx).ref);
          ctx.session.a = 1;
          await ctx.session.save();
          note();
          note();
          await of(ctx).logIn('ada');
          note();
          await ctx.session.regenerate();
          note();
          await ctx.session.destroy();
          note();
        },
        { store },
      );
      const [first, same, second, third, ended] = refs;
      for (const ref of [first, second, third]) expect(ref).to.match(/^[\w-]{43}$/);
      expect([same === first, new Set([first, second, third]).size, ended]).to.deep.equal([true, 3, undefined]);
      expect(setCookie.join(), 'what the visitor has').to.not.include(String(third));
    }
  });

  it('createdAt stays, expiresAt follows the last change, authenticatedAt the last login', async () => {
    const clock = useFakeTimers({ now: 1_000_000, toFake: ['Date'] });
    const { visitor } = await createSite({
      '/change': (ctx) => void (ctx.session.n = (ctx.session.n ?? 0) + 1),
      '/login': (ctx, { of }) => of(ctx).logIn('ada'),
      '/regenerate': (ctx) => ctx.session.regenerate(),
      '/times': (ctx, { of }) => {
        const { createdAt, expiresAt, authenticatedAt } = of(ctx);
        return [createdAt, expiresAt, authenticatedAt].map((at) => at && at.getTime() / 1000);
      },
    });
    const ada = visitor();
    const seen = [];
    for (const path of ['/change', '/change', '/login', '/regenerate', '/login']) {
      await ada.get(path);
      clock.tick(10_000);
      seen.push((await ada.get('/times')).json());
    }
    expect(seen).to.deep.equal([
      [1000, 4600, null],
      [1000, 4610, null],
      [1000, 4620, 1020],
      [1000, 4630, 1020],
      [1000, 4640, 1040],
    ]);
  });

  it('isFresh takes seconds from 0', async () => {
    await inRequest(async (ctx, { of }) => {
      await of(ctx).logIn('ada');
      for (const bad of [-1, Number.NaN, '5', undefined, null])
        expect(await errorOf(() => of(ctx).isFresh(bad as never)), String(bad)).to.be.instanceOf(OptionError);
      expect([of(ctx).isFresh(5), of(ctx).isFresh(Infinity)]).to.deep.equal([true, true]);
    });
  });

  it('isFresh is false for a login in the future, as a clock leaves it that was wrong and was set back', async () => {
    const clock = useFakeTimers({ now: 3_600_000, toFake: ['Date'] });
    await inRequest(async (ctx, { of }) => {
      await of(ctx).logIn('ada');
      clock.setSystemTime(3_000_000);
      expect([of(ctx).isFresh(300), of(ctx).isFresh(600)]).to.deep.equal([false, true]);
    });
  });

  it('takes the session itself', async () => {
    await inRequest(async (ctx, { of }) => {
      await of(ctx.session).logIn('ada');
      expect([of(ctx.session).owner, of(ctx).ref]).to.deep.equal(['ada', of(ctx.session).ref]);
    });
  });

  it('of anything but a context that the middleware handled is a MiddlewareOrderError', async () => {
    const other = session(new MemoryStore(), { name: 'other' });
    await inRequest(async (ctx, { of }) => {
      for (const call of [() => other.of(ctx), () => other.of(ctx.session), () => of({} as never)])
        expect(await errorOf(call)).to.be.instanceOf(MiddlewareOrderError);
    });
  });

  it('of a value that is no object is an OptionError, which names where ctx.session is undefined', async () => {
    await inRequest(async (_ctx, { of, list }) => {
      for (const bad of [undefined, null, 'ada']) {
        const error = await errorOf(() => of(bad as never));
        expect(error).to.be.instanceOf(OptionError).and.include({ code: 'WSESSION_OPTION' });
        expect(error.message).to.match(
          /^Invalid option session: expected ctx or a session; ctx\.session is undefined above/,
        );
      }
      expect(await errorOf(() => list('ada', 'ada' as never))).to.be.instanceOf(OptionError);
    });
  });
});
