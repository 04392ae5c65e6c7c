import { channel, tracingChannel } from 'node:diagnostics_channel';
import { expect } from 'chai';
import type Koa from 'koa';
import type { SessionEvent, SessionEventName } from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import {
  asStore,
  createSite,
  inRequest,
  OpenStore,
  recordOf,
  SOME_COOKIE,
  type StubStore,
  stubStore,
  tidy,
} from './helpers.js';

const NAMES: readonly SessionEventName[] = [
  'created',
  'renewed',
  'regenerated',
  'destroyed',
  'expired',
  'gone',
  'rejected',
];

type Noted = { event: string } & SessionEvent;

describe('the events', () => {
  const off: Array<() => void> = [];
  afterEach(async () => {
    for (const stop of off.splice(0)) stop();
    await tidy();
  });

  /** What is published from here on. */
  function listen(): Noted[] {
    const noted: Noted[] = [];
    for (const event of NAMES) {
      const note = (message: unknown) => noted.push({ event, ...(message as SessionEvent) });
      channel(`koa-wsession:${event}`).subscribe(note);
      off.push(() => channel(`koa-wsession:${event}`).unsubscribe(note));
    }
    return noted;
  }

  const handlers = {
    '/': (ctx: Koa.Context) => void (ctx.session.n = (ctx.session.n ?? 0) + 1),
    '/read': (ctx: Koa.Context) => void ctx.session.n,
    '/regenerate': (ctx: Koa.Context) => ctx.session.regenerate(),
    '/destroy': (ctx: Koa.Context) => ctx.session.destroy(),
  };

  it('tell a session’s life, from one hash to the next, and hold no token, id or value', async () => {
    for (const store of [new MemoryStore(), new OpenStore()]) {
      const noted = listen();
      const { visitor } = await createSite(handlers, { store, name: 'mine' });
      const ada = visitor();
      const tokens: string[] = [];
      for (const path of ['/', '/read', '/', '/regenerate', '/destroy', '/destroy']) {
        await ada.get(path);
        tokens.push(String(ada.jar.get('mine')));
      }
      expect(noted.map(({ event }) => event)).to.deep.equal([
        'created',
        'renewed',
        'regenerated',
        'destroyed',
      ]);
      const [created, renewed, regenerated, destroyed] = noted as [Noted, Noted, Noted, Noted];
      if (store instanceof MemoryStore) expect(renewed.session).to.equal(created.session);
      expect(regenerated.from).to.equal(renewed.session);
      expect(destroyed.session).to.equal(regenerated.session);
      for (const { name, session, event, ...rest } of noted) {
        expect([name, session.length]).to.deep.equal(['mine', 43]);
        expect(Object.keys(rest)).to.deep.equal(event === 'regenerated' ? ['from'] : []);
      }
      for (const token of tokens.slice(0, 4)) expect(JSON.stringify(noted)).to.not.include(token);
      for (const stop of off.splice(0)) stop();
    }
  });

  it('say why a token leads nowhere', async () => {
    const { visitor } = await createSite(handlers, { store: asStore(unknowing('expired')), keys: ['k'] });
    const id = 'A'.repeat(32);
    const reasons: unknown[] = [];
    for (const value of ['short', `${id}.`, `${id}.${'x'.repeat(43)}`, id, 'B'.repeat(5000)]) {
      const noted = listen();
      await visitor().get('/read', { headers: { cookie: `wsession=${value}` } });
      reasons.push(noted.map(({ event, reason }) => [event, reason]));
      expect(JSON.stringify(noted)).to.not.include(value);
      for (const stop of off.splice(0)) stop();
    }
    const rejected = (reason: string) => [['rejected', reason]];
    expect(reasons).to.deep.equal([
      rejected('malformed'),
      rejected('signature'),
      rejected('signature'),
      rejected('signature'),
      rejected('oversized'),
    ]);
  });

  it('say what the store knows about a record that is not there', async () => {
    const over = { ...recordOf({}), expiresAt: Date.now() - 1 };
    for (const [answer, events] of [
      [undefined, [['rejected', 'unknown']]],
      ['corrupt', [['rejected', 'corrupt']]],
      ['seal', [['rejected', 'seal']]],
      [
        'expired',
        [
          ['expired', 'expired'],
          ['rejected', 'expired'],
        ],
      ],
      [
        over,
        [
          ['expired', 'expired'],
          ['rejected', 'expired'],
        ],
      ],
    ] as const) {
      const noted = listen();
      const { body } = await inRequest((ctx) => ctx.session.isNew, {
        store: asStore(unknowing(answer)),
        cookie: SOME_COOKIE,
      });
      expect(body).to.equal('true');
      expect(noted.map(({ event, reason }) => [event, reason])).to.deep.equal(events);
      for (const stop of off.splice(0)) stop();
    }
  });

  it('say when a request came too late', async () => {
    const store = stubStore();
    store.update.returns({ outcome: 'gone' });
    const noted = listen();
    const { visitor } = await createSite(handlers, { store: asStore(store) });
    await visitor().get('/', { headers: { cookie: SOME_COOKIE } });
    expect(noted.map(({ event, session }) => [event, session])).to.deep.equal([
      ['gone', store.load.firstCall.args[0]],
    ]);
  });

  it('trace the calls to the store, without what they answer', async () => {
    for (const async of [false, true]) {
      const noted: string[] = [];
      const messages: unknown[] = [];
      for (const call of ['load', 'save', 'destroy'] as const) {
        const note = (step: string) => (message: unknown) => {
          noted.push(`${call} ${step}`);
          messages.push({ ...(message as object) });
        };
        const subscribers = {
          start: note('start'),
          end: note('end'),
          asyncStart: note('asyncStart'),
          asyncEnd: note('asyncEnd'),
          error: note('error'),
        };
        tracingChannel(`koa-wsession:${call}`).subscribe(subscribers);
        off.push(() => tracingChannel(`koa-wsession:${call}`).unsubscribe(subscribers));
      }
      const store = stubStore();
      const answer = (it: unknown) => (async ? Promise.resolve(it) : it);
      store.load.callsFake(() => answer(recordOf({ secret: '"value"', n: '1' })));
      store.update.callsFake(() => answer({ outcome: 'updated' }));
      store.destroy.callsFake(() => {
        if (async) return Promise.reject(new Error('down'));
        throw new Error('down');
      });
      const { visitor } = await createSite(
        {
          '/': async (ctx) => {
            ctx.session.n = 2;
            await ctx.session.save();
            await ctx.session.destroy();
          },
        },
        { store: asStore(store) },
      );
      await visitor().get('/', { headers: { cookie: SOME_COOKIE } });
      const ok = (call: string) =>
        ['start', 'end', ...(async ? ['asyncStart', 'asyncEnd'] : [])].map((step) => `${call} ${step}`);
      const failed = async
        ? ['destroy start', 'destroy end', 'destroy error', 'destroy asyncStart', 'destroy asyncEnd']
        : ['destroy start', 'destroy error', 'destroy end'];
      expect(noted).to.deep.equal([...ok('load'), ...ok('save'), ...failed]);
      const text = JSON.stringify(messages);
      for (const secret of ['value', 'A'.repeat(32)]) expect(text).to.not.include(secret);
      for (const stop of off.splice(0)) stop();
    }
  });
});

function unknowing(answer: unknown): StubStore {
  const store = stubStore();
  store.load.returns(answer);
  return store;
}
