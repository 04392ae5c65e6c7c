import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import { Readable } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect } from 'chai';
import Koa from 'koa';
import { LateError, type Sessions, session } from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import { Client } from 'testkit/http';
import {
  createSite,
  Gate,
  type Handler,
  OpenStore,
  observe,
  type Reported,
  type Site,
  serveApp,
  tidy,
} from './helpers.js';

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

  it('is one event also where the session is used first once the response is out, by a handler that goes on', async () => {
    const site = await createSite({
      '/': (ctx) => {
        ctx.respond = false;
        ctx.res.end('out');
        ctx.session.late = true;
      },
    });
    const reported = site.nextError();
    expect((await site.visitor().get('/')).body).to.equal('out');
    expect(await reported).to.include({ code: 'WSESSION_LATE' });
    await settle();
    expect(site.errors).to.have.length(1);
  });

  const lateChanges: ReadonlyArray<[what: string, change: Handler, keys: string[]]> = [
    ['an assignment', (ctx) => void (ctx.session.late = true), ['late']],
    ['a deletion', (ctx) => void delete ctx.session.a, ['a']],
    ['a replacement', (ctx) => void (ctx.session = { b: 1 }), ['b', 'a', 'list']],
    ['Object.assign', (ctx) => Object.assign(ctx.session, { x: 1, y: 2 }), ['x', 'y']],
    ['a message', (ctx, sessions) => sessions.of(ctx).flash('note', 'x'), ['flash:note']],
    ['a lifetime', (ctx) => void (ctx.session.maxAge = 90_000_000), ['maxAge']],
  ];
  for (const [what, change, keys] of lateChanges) {
    it(`is one event of the app, with the keys: ${what}`, async () => {
      const done = new Gate<unknown>();
      const site = await createSite({
        '/': write,
        '/late': (ctx, sessions) => {
          ctx.session.a;
          void afterwards(ctx, () => change(ctx, sessions)).then(done.open);
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

  it('is reported once a request, however often it changes', async () => {
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
    expect(site.errors.map(({ keys }) => keys)).to.deep.equal([['first']]);
  });

  it('to a value that can not be stored is reported as such', async () => {
    const done = new Gate<unknown>();
    const site = await createSite({
      '/': write,
      '/late': (ctx) => {
        ctx.session.a;
        void afterwards(ctx, () => Object.assign(ctx.session, { bad: { nested: /x/ }, other: 1 })).then(done.open);
      },
    });
    await visit(site, '/late');
    await done.passed;
    await settle();
    expect(site.errors.map(({ code }) => code)).to.deep.equal(['WSESSION_VALUE']);
  });

  it('in place, while a stream is sent, is reported when the response is closed', async () => {
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
    'a Response': (ctx, parts) => {
      ctx.body = new Response(Readable.toWeb(Readable.from(parts)) as never);
    },
    'a ReadableStream': (ctx, parts) => {
      ctx.body = Readable.toWeb(Readable.from(parts));
    },
    'piped by the handler': (ctx, parts) => {
      ctx.respond = false;
      Readable.from(parts).pipe(ctx.res);
    },
  })) {
    it(`in place, in a stream that is ${what}, is reported, too`, async () => {
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

  it('is reported to a listener that gets the context', async () => {
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

describe('a change by code that the middleware does not wait for', () => {
  afterEach(tidy);

  it('in a stream that touches the session first is reported', async () => {
    const site = await createSite({
      '/': write,
      '/late': (ctx) => {
        ctx.body = Readable.from(
          (async function* () {
            yield 'a';
            ctx.session.late = true;
            yield 'b';
          })(),
        );
      },
    });
    const reported = site.nextError();
    const { reply } = await visit(site, '/late');
    expect(reply.body).to.equal('ab');
    expect((await reported).keys).to.deep.equal(['late']);
  });

  it('in an error listener is reported once, and never again for what the report itself changes', async () => {
    const app = new Koa();
    const errors: Reported[] = [];
    app.on('error', (error: Reported, ctx: Koa.Context) => {
      errors.push(error);
      ctx.session.reported = errors.length; // an audit trail, say
    });
    app.use(session(new MemoryStore()));
    app.use((ctx) => {
      ctx.session.a = 1;
      throw new Error('mine');
    });
    expect((await new Client(await serveApp(app)).get('/')).status).to.equal(500);
    await settle();
    expect(errors.map(({ code, message, keys }) => code ?? [message, keys])).to.deep.equal([
      ['mine', undefined],
      'WSESSION_LATE',
    ]);
    expect(errors[1]?.keys).to.deep.equal(['reported']);
  });

  it('ctx.session = null ends the session, without the cookie', async () => {
    const store = new MemoryStore();
    const done = new Gate();
    const site = await createSite(
      {
        '/': write,
        '/late': (ctx) => {
          ctx.session.a;
          ctx.res.once('finish', () => {
            ctx.session = null;
            done.open();
          });
        },
        '/get': get,
      },
      { store },
    );
    const order = observe(store);
    const { content } = await visit(site, '/late');
    await done.passed;
    await settle();
    expect([order, await content(), site.errors]).to.deep.equal([['create', 'destroy'], {}, []]);
  });
});

describe('save() after the response', () => {
  afterEach(tidy);

  it('stores the change of a session that exists, and nothing is reported', async () => {
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

  it('stores the change, also a few turns after the assignment was reported', async () => {
    const done = new Gate<unknown>();
    const site = await createSite({
      '/': write,
      '/late': (ctx) => {
        ctx.session.a;
        void afterwards(ctx, async () => {
          ctx.session.late = true;
          await settle(); // a query, say
          await ctx.session.save();
        }).then(done.open);
      },
      '/get': get,
    });
    const { content } = await visit(site, '/late');
    expect(await done.passed).to.equal(undefined);
    expect(await content()).to.deep.equal({ a: 1, list: [], late: true });
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

  it('of a new session is a LateError, and creates no record', async () => {
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

  it('with a store that seals is a LateError: the new token could not be sent', async () => {
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

describe('update(), takeFlash() and destroy() after the response', () => {
  afterEach(tidy);

  it('work in a session that exists, and nothing is reported', async () => {
    for (const [act, expected] of [
      [(ctx: Koa.Context, sessions: Sessions) => sessions.of(ctx).update('a', (a) => a + 1), { a: 2, list: [] }],
      [(ctx: Koa.Context, sessions: Sessions) => sessions.of(ctx).takeFlash('note'), { a: 1, list: [] }],
      [(ctx: Koa.Context) => ctx.session.destroy(), {}],
    ] as const) {
      const done = new Gate<unknown>();
      const site = await createSite({
        '/': write,
        '/late': (ctx, sessions) => {
          ctx.session.a;
          void afterwards(ctx, async () => {
            await act(ctx, sessions);
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

describe('a session in an upgrade, in a context of Koa whose response is never sent', () => {
  afterEach(tidy);

  /** What a change by an upgrade comes to. */
  async function upgrade(site: Site, cookie: string): Promise<unknown> {
    const request = Object.assign(new IncomingMessage(new Socket()), { upgrade: true, url: '/' });
    request.headers.cookie = cookie;
    const ctx = site.app.createContext(request, new ServerResponse(request));
    try {
      await site.sessions(ctx, async () => void (ctx.session.late = true));
      return 'stored';
    } catch (error) {
      return error;
    }
  }

  it('still saves one that exists; a new one is a LateError, and creates no record', async () => {
    const store = new MemoryStore();
    const site = await createSite({ '/': write, '/get': get }, { store });
    const ada = site.visitor();
    await ada.get('/');
    const order = observe(store);
    expect(await upgrade(site, ada.cookie)).to.equal('stored');
    expect((await ada.get('/get')).json()).to.deep.equal({ a: 1, list: [], late: true });
    expect(await upgrade(site, '')).to.be.instanceOf(LateError);
    expect(order).to.deep.equal(['update']);
  });
});
