import { expect } from 'chai';
import type { SessionOptions } from 'koa-wsession';
import {
  asStore,
  createSite,
  type Handler,
  inRequest,
  OpenStore,
  recordOf,
  SOME_COOKIE,
  stubStore,
  tidy,
} from './helpers.js';

const read: Handler = (ctx) => ctx.session.n;

/** A request to a session of this age in seconds, which lives for an hour. */
async function visit(age: number, options: SessionOptions, handler: Handler = read) {
  const store = stubStore();
  const createdAt = Date.now() - age * 1000;
  store.load.returns(recordOf({ n: '1' }, createdAt));
  const reply = await inRequest(handler, { store: asStore(store), cookie: SOME_COOKIE, ...options });
  return { store, reply, createdAt };
}

describe('rolling', () => {
  afterEach(tidy);

  it('resets the expiry on requests that only read, in the store and in the cookie', async () => {
    const { store, reply } = await visit(100, { rolling: true });
    expect(store.update.callCount).to.equal(1);
    const { set, delete: removed, expiresAt } = store.update.firstCall.args[1];
    expect([set.size, removed]).to.deep.equal([0, []]);
    expect(expiresAt).to.be.within(Date.now() + 3_590_000, Date.now() + 3_600_000);
    expect(reply.setCookie[0]).to.match(/^wsession=A{32}; Max-Age=3600;/);
  });

  it('is off by default', async () => {
    for (const options of [{}, { rolling: false }]) {
      const { store, reply } = await visit(3000, options);
      expect([store.update.callCount, reply.setCookie]).to.deep.equal([0, []]);
    }
  });

  it('as a number resets at most once in so many seconds', async () => {
    for (const [age, calls] of [
      [59, 0],
      [61, 1],
    ] as const) {
      const { store } = await visit(age, { rolling: 60 });
      expect(store.update.callCount, `${age} s`).to.equal(calls);
    }
  });

  it('adds nothing to a request that writes, and nothing to one that leaves the session alone', async () => {
    for (const [handler, calls] of [
      [(ctx) => void (ctx.session.n = 2), 1],
      [(ctx, { of }) => ctx.session.save().then(() => of(ctx).update('n', (n) => n + 1)), 1],
      [() => 'untouched', 0],
    ] as ReadonlyArray<[Handler, number]>) {
      const { store } = await visit(100, { rolling: true }, handler);
      expect(store.update.callCount).to.equal(calls);
    }
  });

  it('adds nothing to what save() or regenerate() stored a moment before', async () => {
    const moment = () => {
      const start = Date.now();
      while (Date.now() < start + 2); // as long as it takes for there to be something to gain
    };
    const save: Handler = async (ctx) => {
      ctx.session.n = 2;
      await ctx.session.save();
      moment();
    };
    const regenerate: Handler = async (ctx) => {
      await ctx.session.regenerate();
      moment();
    };
    const { store: updated } = await visit(100, { rolling: true }, save);
    expect(updated.update.callCount).to.equal(1);
    const { store: regenerated } = await visit(100, { rolling: true }, regenerate);
    expect([regenerated.create.callCount, regenerated.update.callCount]).to.deep.equal([1, 0]);
    const created = stubStore();
    await inRequest(save, { store: asStore(created), rolling: true });
    expect([created.create.callCount, created.update.callCount]).to.deep.equal([1, 0]);
  });

  it('makes no session for a visitor without one', async () => {
    const store = stubStore();
    await inRequest(read, { store: asStore(store), rolling: true });
    expect([store.create.callCount, store.update.callCount]).to.deep.equal([0, 0]);
  });

  it('does not go beyond absoluteTimeout, and does not ask once that is reached', async () => {
    const { store, createdAt } = await visit(100, { rolling: true, absoluteTimeout: 3650 });
    expect(store.update.firstCall.args[1].expiresAt).to.equal(createdAt + 3_650_000);
    const capped = await visit(100, { rolling: true, absoluteTimeout: 3600 });
    expect(capped.store.update.callCount).to.equal(0);
  });

  it('of a session that ended meanwhile is no error: what was read was so', async () => {
    const store = stubStore();
    store.load.returns(recordOf({ n: '1' }, Date.now() - 100_000));
    store.update.returns({ outcome: 'gone' });
    const { status, setCookie, body } = await inRequest(read, {
      store: asStore(store),
      cookie: SOME_COOKIE,
      rolling: true,
    });
    expect([status, setCookie, body]).to.deep.equal([200, [], '1']);
  });

  it('with a store that fails is a 503', async () => {
    const store = stubStore();
    store.load.returns(recordOf({ n: '1' }, Date.now() - 100_000));
    store.update.rejects(new Error('down'));
    const { visitor } = await createSite({ '/': read }, { store: asStore(store), rolling: true });
    const { status, setCookie } = await visitor().get('/', { headers: { cookie: SOME_COOKIE } });
    expect([status, setCookie]).to.deep.equal([503, []]);
  });

  it('does nothing once the headers are sent', async () => {
    const { store, reply } = await visit(100, { rolling: true }, (ctx) => {
      ctx.session.n;
      ctx.respond = false;
      ctx.res.end('sent');
    });
    expect([store.update.callCount, reply.body]).to.deep.equal([0, 'sent']);
  });

  it('with a store that seals sends a new token', async () => {
    const { visitor } = await createSite(
      { '/': (ctx) => void (ctx.session.n = 1), '/get': read },
      { store: new OpenStore(), rolling: 0.001 },
    );
    const ada = visitor();
    await ada.get('/');
    const before = ada.jar.get('wsession');
    const start = Date.now();
    while (Date.now() < start + 2); // the clock has to move for a token to differ
    await ada.get('/get');
    expect(ada.jar.get('wsession')).to.not.equal(before);
    expect((await ada.get('/get')).json()).to.equal(1);
  });
});
