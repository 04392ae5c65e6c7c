import { Readable } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect } from 'chai';
import type Koa from 'koa';
import { LateError } from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import { createSite, Gate, type Handler, OpenStore, observe, type Site, tidy } from './helpers.js';

const write: Handler = (ctx) => void Object.assign(ctx.session, { a: 1, list: [] });
const get: Handler = (ctx) => ({ ...ctx.session });

/** Runs once the response is out. */
function afterwards(ctx: Koa.Context, body: () => unknown): Promise<unknown> {
  const done = new Gate<unknown>();
  ctx.res.once('finish', async () => {
    try {
      done.open(await body());
    } catch (error) {
      done.open(error);
    }
  });
  return done.passed;
}

async function visit(site: Site, path: string) {
  const ada = site.visitor();
  await ada.get('/');
  const reply = await ada.get(path);
  return { reply, content: async () => (await ada.get('/get')).json() };
}

/** Whatever is still to be reported by now is reported then. */
async function settle(): Promise<void> {
  for (let i = 0; i < 5; i++) await nextTurn();
}

describe('a change after the response', () => {
  afterEach(tidy);

  const lateChanges: ReadonlyArray<[what: string, change: (ctx: Koa.Context) => unknown, keys: string[]]> = [
    ['an assignment', (ctx) => void (ctx.session.late = true), ['late']],
    ['a deletion', (ctx) => void delete ctx.session.a, ['a']],
    ['a replacement', (ctx) => void (ctx.session = { b: 1 }), ['b', 'a', 'list']],
    ['Object.assign', (ctx) => Object.assign(ctx.session, { x: 1, y: 2 }), ['x', 'y']],
    ['a message', (ctx) => ctx.session.flash('note', 'x'), ['flash(note)']],
  ];
  for (const [what, change, keys] of lateChanges) {
    it(`by a handler that nobody waits for is reported, once, with its keys: ${what}`, async () => {
      const done = new Gate<unknown>();
      const site = await createSite({
        '/': write,
        '/late': (ctx) => {
          ctx.session.a;
          void afterwards(ctx, () => change(ctx)).then(done.open);
        },
        '/get': get,
      });
      const reported = site.nextError();
      const { reply, content } = await visit(site, '/late');
      const error = await reported;
      await done.passed;
      await settle();
      expect(reply.status).to.equal(200);
      expect(error).to.be.instanceOf(LateError);
      expect(error.keys).to.deep.equal(keys);
      expect(site.errors).to.have.length(1);
      expect(await content()).to.deep.equal({ a: 1, list: [] });
    });
  }

  it('that changes nothing is not reported', async () => {
    const done = new Gate<unknown>();
    const site = await createSite({
      '/': write,
      '/late': (ctx) => {
        ctx.session.a;
        void afterwards(ctx, () => {
          ctx.session.a = 1;
          ctx.session.list = [];
          ctx.session.brief = 1;
          delete ctx.session.brief;
        }).then(done.open);
      },
    });
    await visit(site, '/late');
    await done.passed;
    await settle();
    expect(site.errors).to.deep.equal([]);
  });

  it('again is reported again', async () => {
    const done = new Gate<unknown>();
    const site = await createSite({
      '/': write,
      '/late': (ctx) => {
        ctx.session.a;
        void afterwards(ctx, async () => {
          ctx.session.first = 1;
          await settle();
          ctx.session.second = 1;
          await settle();
          ctx.session.first = 2;
          await settle();
        }).then(done.open);
      },
    });
    await visit(site, '/late');
    await done.passed;
    expect(site.errors.map(({ keys }) => keys)).to.deep.equal([['first'], ['second'], ['first']]);
  });

  it('to what can not be stored is reported as such, once', async () => {
    const done = new Gate<unknown>();
    const site = await createSite({
      '/': write,
      '/late': (ctx) => {
        ctx.session.a;
        void afterwards(ctx, () => Object.assign(ctx.session, { bad: /x/, other: 1 })).then(done.open);
      },
    });
    await visit(site, '/late');
    await done.passed;
    await settle();
    expect(site.errors.map(({ code }) => code)).to.deep.equal(['WSESSION_VALUE']);
  });

  it('in a stream is reported once it has ended: assigned, and in place', async () => {
    const site = await createSite({
      '/': write,
      '/late': (ctx) => {
        const { session } = ctx;
        const { list } = session;
        ctx.body = Readable.from(
          (async function* () {
            yield 'a';
            list.push(1);
            await settle();
            yield 'b';
          })(),
        );
      },
      '/get': get,
    });
    const reported = site.nextError();
    const { reply, content } = await visit(site, '/late');
    expect(reply.body).to.equal('ab');
    expect((await reported).keys).to.deep.equal(['list']);
    expect(await content()).to.deep.equal({ a: 1, list: [] });
  });

  for (const [what, send] of Object.entries<(ctx: Koa.Context, parts: AsyncIterable<string>) => unknown>({
    "a Response's": (ctx, parts) => {
      ctx.body = new Response(Readable.toWeb(Readable.from(parts)) as never);
    },
    "the handler's own": (ctx, parts) => {
      ctx.respond = false;
      Readable.from(parts).pipe(ctx.res);
    },
  })) {
    it(`in place, in a stream that is ${what}, is reported too`, async () => {
      const site = await createSite({
        '/': write,
        '/late': (ctx) => {
          const { list } = ctx.session;
          return send(
            ctx,
            (async function* () {
              yield 'a';
              await settle();
              list.push(1);
              yield 'b';
            })(),
          );
        },
      });
      const reported = site.nextError();
      const { reply } = await visit(site, '/late');
      expect(reply.body).to.equal('ab');
      expect((await reported).keys).to.deep.equal(['list']);
    });
  }

  it('in a stream that changes nothing is not reported', async () => {
    const site = await createSite({
      '/': write,
      '/late': (ctx) => {
        ctx.session.list;
        ctx.body = Readable.from(['a', 'b']);
      },
    });
    await visit(site, '/late');
    await settle();
    expect(site.errors).to.deep.equal([]);
  });

  it('never ends an error listener in an unhandled rejection of the session', async () => {
    const site = await createSite({
      '/': write,
      '/late': (ctx) => {
        ctx.session.a;
        void afterwards(ctx, () => void (ctx.session.late = 1));
      },
    });
    site.app.removeAllListeners('error');
    const reported = new Promise((resolve) => site.app.on('error', (_error, ctx) => resolve(ctx)));
    await visit(site, '/late');
    expect(await reported).to.have.property('path', '/late');
  });
});

describe('save() after the response', () => {
  afterEach(tidy);

  it('stores, in a session that exists, and nothing is reported', async () => {
    const done = new Gate<unknown>();
    const site = await createSite({
      '/': write,
      '/late': (ctx) => {
        ctx.session.a;
        void afterwards(ctx, async () => {
          ctx.session.late = true;
          await ctx.session.save();
          await settle();
        }).then(done.open);
      },
      '/get': get,
    });
    const { content } = await visit(site, '/late');
    expect(await done.passed).to.equal(undefined);
    expect(await content()).to.deep.equal({ a: 1, list: [], late: true });
    expect(site.errors).to.deep.equal([]);
  });

  it('in a stream stores what changed in place, and nothing is reported', async () => {
    const site = await createSite({
      '/': write,
      '/late': (ctx) => {
        const { session } = ctx;
        session.list;
        ctx.body = Readable.from(
          (async function* () {
            yield 'a';
            session.list.push(1);
            await session.save();
            yield 'b';
          })(),
        );
      },
      '/get': get,
    });
    const { reply, content } = await visit(site, '/late');
    await settle();
    expect([reply.body, (await content()).list, site.errors]).to.deep.equal(['ab', [1], []]);
  });

  it('in a new session is a LateError, and makes no record', async () => {
    const store = new MemoryStore();
    const order = observe(store);
    const done = new Gate<unknown>();
    const site = await createSite(
      {
        '/late': (ctx) => {
          ctx.session.a;
          void afterwards(ctx, async () => {
            ctx.session.late = true;
            await ctx.session.save();
          }).then(done.open);
        },
      },
      { store },
    );
    await site.visitor().get('/late');
    expect(await done.passed)
      .to.be.instanceOf(LateError)
      .with.property('message')
      .that.includes('"late"');
    expect(order).to.deep.equal([]);
  });

  it('with a store that seals is a LateError: the visitor could not be handed the new token', async () => {
    const store = new OpenStore();
    const done = new Gate<unknown>();
    const site = await createSite(
      {
        '/': write,
        '/late': (ctx) => {
          ctx.session.a;
          void afterwards(ctx, async () => {
            ctx.session.late = true;
            delete ctx.session.a;
            await ctx.session.save();
          }).then(done.open);
        },
        '/get': get,
      },
      { store },
    );
    const { content } = await visit(site, '/late');
    const error = (await done.passed) as LateError;
    expect(error).to.be.instanceOf(LateError);
    expect(error.keys).to.deep.equal(['late', 'a']);
    expect(await content()).to.deep.equal({ a: 1, list: [] });
    expect(store.calls.filter((call) => call === 'update')).to.deep.equal([]);
  });
});

describe('update() and destroy() after the response', () => {
  afterEach(tidy);

  it('work in a session that exists, and nothing is reported', async () => {
    for (const [act, expected] of [
      [(ctx: Koa.Context) => ctx.session.update('a', (a) => a + 1), { a: 2, list: [] }],
      [(ctx: Koa.Context) => ctx.session.destroy(), {}],
    ] as const) {
      const done = new Gate<unknown>();
      const site = await createSite({
        '/': write,
        '/late': (ctx) => {
          ctx.session.a;
          void afterwards(ctx, async () => {
            await act(ctx);
            await settle();
          }).then(done.open);
        },
        '/get': get,
      });
      const { content } = await visit(site, '/late');
      await done.passed;
      expect([await content(), site.errors]).to.deep.equal([expected, []]);
    }
  });
});
