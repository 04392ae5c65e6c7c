import { once } from 'node:events';
import { expect } from 'chai';
import { type Session, UnavailableError } from 'koa-wsession';
import { asStore, errorOf, inRequest, SOME_COOKIE, stubStore, tidy, UPDATED } from './helpers.js';

type Method = 'save' | 'regenerate' | 'destroy';

/** Calls a method with a Node callback. Resolves with the callback's arguments. */
function callBack(session: Session, method: Method): Promise<unknown[]> {
  return new Promise((resolve) => {
    const returned = session[method]((...args: unknown[]) => resolve(args));
    expect(returned).to.equal(undefined);
  });
}

describe('the callback of save(), regenerate() and destroy()', () => {
  afterEach(tidy);

  for (const method of ['save', 'regenerate', 'destroy'] as const)
    it(`${method}(callback) calls back without arguments once the store is done`, async () => {
      const store = stubStore();
      const stored = { save: store.update, regenerate: store.destroy, destroy: store.destroy }[method];
      await inRequest(
        async (ctx) => {
          ctx.session.a = 1;
          expect(await callBack(ctx.session, method)).to.deep.equal([]);
          expect(stored.callCount).to.equal(1);
        },
        { store: asStore(store), cookie: SOME_COOKIE },
      );
    });

  for (const method of ['save', 'regenerate', 'destroy'] as const)
    it(`${method}(callback) calls back with the error, and rejects nowhere`, async () => {
      const store = stubStore();
      for (const call of ['create', 'update', 'destroy'] as const) store[call].rejects(new Error('down'));
      await inRequest(
        async (ctx) => {
          ctx.session.a = 1;
          const [error] = await callBack(ctx.session, method);
          expect(error).to.be.instanceOf(UnavailableError);
        },
        { store: asStore(store), cookie: SOME_COOKIE },
      );
    });

  it("what it throws is the app's, as with every Node callback: an uncaught exception", async () => {
    const listeners = process.listeners('uncaughtException');
    process.removeAllListeners('uncaughtException');
    try {
      const mine = new Error('mine');
      const uncaught = once(process, 'uncaughtException');
      await inRequest((ctx) => {
        ctx.session.a = 1;
        ctx.session.save(() => {
          throw mine;
        });
      });
      expect((await uncaught)[0]).to.equal(mine);
    } finally {
      for (const listener of listeners) process.on('uncaughtException', listener);
    }
  });

  it('a callback that is none is ignored: the call returns a promise', async () => {
    const store = stubStore();
    store.update.onFirstCall().rejects(new Error('down')).onSecondCall().returns(UPDATED);
    await inRequest(
      async (ctx) => {
        ctx.session.a = 1;
        const save = ctx.session.save as (callback?: unknown) => Promise<void>;
        expect(await errorOf(() => save(undefined))).to.be.instanceOf(UnavailableError);
        await save({});
      },
      { store: asStore(store), cookie: SOME_COOKIE },
    );
  });
});
