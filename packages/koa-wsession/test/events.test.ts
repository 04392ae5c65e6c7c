import crypto from 'node:crypto';
import { syncBuiltinESMExports } from 'node:module';
import { inspect } from 'node:util';
import { expect } from 'chai';
import { GoneError, UnavailableError } from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import { restore, spy, useFakeTimers } from 'sinon';
import { type Heard, listen, listenTo, stopListening } from './events-heard.js';
import {
  asStore,
  createSite,
  errorOf,
  inRequest,
  OpenStore,
  recordOf,
  type SiteOptions,
  SOME_COOKIE,
  stubStore,
  tidy,
  twinOf,
  UPDATED,
} from './helpers.js';

const EVENTS = ['created', 'renewed', 'regenerated', 'destroyed', 'expired', 'gone', 'rejected'];
const CALLS = ['load', 'save', 'destroy'];
const STEPS = ['start', 'end', 'asyncStart', 'asyncEnd', 'error'];

const listenToEvents = () => listenTo(...EVENTS);
const listenToCalls = () =>
  listen(CALLS.flatMap((call) => STEPS.map((step) => `tracing:koa-wsession:${call}:${step}`)));

const hash = (name: string, text: string) => crypto.createHash('sha256').update(`${name}\0${text}`).digest('base64url');

const tokenOf = (cookie: string) => cookie.slice(cookie.indexOf('=') + 1);

async function tidyEvents(): Promise<void> {
  stopListening();
  await tidy();
}

describe('the events', () => {
  afterEach(tidyEvents);

  it('tell of a session from its creation to its end, under the ref that of(ctx) and list() show', async () => {
    const heard = listenToEvents();
    const refs: Array<string | undefined> = [];
    const { visitor } = await createSite({
      '/begin': async (ctx, { of }) => {
        ctx.session.n = 0;
        await ctx.session.save();
        refs.push(of(ctx).ref);
      },
      '/login': async (ctx, { of }) => {
        await of(ctx).logIn('ada');
        refs.push(of(ctx).ref);
      },
      '/change': (ctx) => void (ctx.session.n = 1),
      '/regenerate': async (ctx, { of, list }) => {
        await ctx.session.regenerate();
        refs.push(of(ctx).ref, (await list('ada'))[0]?.ref);
      },
      '/read': (ctx) => ctx.session.n,
      '/logout': (ctx) => ctx.session.destroy(),
    });
    const ada = visitor();
    for (const path of ['/begin', '/login', '/change', '/regenerate', '/read', '/logout']) await ada.get(path);
    const [first, second, third, listed] = refs as string[];
    expect(listed).to.equal(third);
    expect(heard).to.deep.equal([
      ['created', { name: 'wsession', session: first }],
      ['regenerated', { name: 'wsession', session: second, from: first }],
      ['renewed', { name: 'wsession', session: second }],
      ['regenerated', { name: 'wsession', session: third, from: second }],
      ['destroyed', { name: 'wsession', session: third }],
    ]);
  });

  it('tell of regenerate(callback) as the end of one session and the beginning of another', async () => {
    const { visitor } = await createSite({
      '/begin': (ctx) => void (ctx.session.n = 0),
      '/regenerate': async (ctx) => {
        await new Promise((resolve) => ctx.session.regenerate(resolve));
        ctx.session.n = 1;
      },
    });
    const ada = visitor();
    await ada.get('/begin');
    const heard = listenToEvents();
    await ada.get('/regenerate');
    expect(heard.map(([event]) => event)).to.deep.equal(['destroyed', 'created']);
  });

  it('stand for a sealed session with a hash of its token', async () => {
    const heard = listenToEvents();
    const refs: Array<string | undefined> = [];
    const site = await createSite(
      {
        '/': async (ctx, { of }) => {
          ctx.session.n = (ctx.session.n ?? 0) + 1;
          await ctx.session.save();
          refs.push(of(ctx).ref);
        },
        '/regenerate': async (ctx, { of }) => {
          await ctx.session.regenerate();
          refs.push(of(ctx).ref);
        },
        '/logout': (ctx) => ctx.session.destroy(),
      },
      { store: new OpenStore(), name: 's' },
    );
    const ada = site.visitor();
    const tokens: string[] = [];
    for (const path of ['/', '/', '/regenerate']) {
      await ada.get(path);
      tokens.push(tokenOf(ada.cookie));
    }
    await ada.get('/logout');
    const hashes = tokens.map((token) => hash('s', token));
    expect(refs).to.deep.equal(hashes);
    const [a, b, c] = hashes as [string, string, string];
    expect(heard).to.deep.equal([
      ['created', { name: 's', session: a }],
      ['renewed', { name: 's', session: b }],
      ['regenerated', { name: 's', session: c, from: b }],
      ['destroyed', { name: 's', session: c }],
    ]);
  });

  it('tell of a session that was revoked, once', async () => {
    const site = await createSite({ '/': (ctx, { of }) => of(ctx).logIn('ada') });
    await site.visitor().get('/');
    const [listed] = await site.sessions.list('ada');
    const heard = listenToEvents();
    expect([await site.sessions.revoke('ada'), await site.sessions.revoke('ada')]).to.deep.equal([1, 0]);
    expect(heard).to.deep.equal([['destroyed', { name: 'wsession', session: listed?.ref }]]);
  });

  it('tell of a session that was gone at the save, and at regenerate()', async () => {
    const heard = listenToEvents();
    const store = stubStore();
    store.update.returns({ outcome: 'gone' });
    const save = await createSite({ '/': (ctx) => void (ctx.session.a = 1) }, { store: asStore(store) });
    const { status } = await save.visitor().get('/', { headers: { cookie: SOME_COOKIE } });
    store.destroy.returns({ outcome: 'none' });
    await inRequest(async (ctx) => expect(await errorOf(() => ctx.session.regenerate())).to.be.instanceOf(GoneError), {
      store: asStore(store),
      cookie: SOME_COOKIE,
    });
    const session = store.load.firstCall.args[0];
    expect(status).to.equal(409);
    expect(heard).to.deep.equal([
      ['gone', { name: 'wsession', session }],
      ['gone', { name: 'wsession', session }],
    ]);
  });

  it('tell of no end that another request had brought about', async () => {
    const heard = listenToEvents();
    const store = stubStore();
    store.destroy.returns({ outcome: 'none' });
    await inRequest((ctx) => ctx.session.destroy(), { store: asStore(store), cookie: SOME_COOKIE });
    expect([store.destroy.callCount, heard]).to.deep.equal([1, []]);
  });

  it('tell only of what is stored', async () => {
    const heard = listenToEvents();
    const site = await createSite({
      '/read': (ctx) => ctx.session.n ?? null,
      '/end': (ctx) => void (ctx.session = null),
      '/empty': (ctx) => ctx.session.save(),
      '/fails': async (ctx) => {
        ctx.session.bad = new (class Bad {})();
        await errorOf(() => ctx.session.save());
        delete ctx.session.bad;
      },
    });
    for (const path of ['/read', '/end', '/empty', '/fails', '/other']) await site.visitor().get(path);
    expect(heard).to.deep.equal([]);
  });

  it('tell of a renewal without a change', async () => {
    const heard = listenToEvents();
    const store = stubStore();
    store.load.callsFake(() => recordOf({ n: '1' }, Date.now() - 60_000));
    await inRequest((ctx) => ctx.session.n, { store: asStore(store), cookie: SOME_COOKIE, rolling: true });
    expect(heard).to.deep.equal([['renewed', { name: 'wsession', session: store.load.firstCall.args[0] }]]);
  });

  describe('rejected', () => {
    /** What is heard of a token with which the visitor is an anonymous one, and no error. */
    async function reject(token: string, options: SiteOptions = {}): Promise<Heard[]> {
      const heard = listenToEvents();
      const { name = 'wsession' } = options;
      const site = await createSite({ '/': (ctx) => ctx.session.isNew }, options);
      const { status, body, setCookie } = await site.visitor().get('/', { headers: { cookie: `${name}=${token}` } });
      expect([status, body, setCookie, site.errors]).to.deep.equal([200, 'true', [], []]);
      for (const [, message] of heard) expect(message.session).to.equal(hash(name, token));
      return heard;
    }

    const ID = 'A'.repeat(32);

    for (const [reason, token, options] of [
      ['malformed', 'x', {}],
      ['malformed', '', {}],
      ['malformed', `${ID}A`, {}],
      ['oversized', 'A'.repeat(4096 - 'wsession'.length + 1), {}],
      ['signature', ID, { keys: ['k'] }],
      ['signature', `${ID}.forged`, { keys: ['k'] }],
      ['signature', `${ID}.${'s'.repeat(43)}`, {}],
      ['unknown', ID, {}],
    ] as ReadonlyArray<[string, string, SiteOptions]>) {
      it(`${reason}: ${token.length} characters, ${inspect(options)}`, async () => {
        expect(await reject(token, options)).to.deep.equal([
          ['rejected', { name: 'wsession', session: hash('wsession', token), reason }],
        ]);
      });
    }

    for (const reason of ['corrupt', 'seal'] as const) {
      it(`${reason}, as the store says, at once or later`, async () => {
        for (const answer of [reason, Promise.resolve(reason)]) {
          const store = stubStore();
          store.load.returns(answer);
          const heard = await reject(ID, { store: asStore(store) });
          expect(heard.map(([event, message]) => [event, message.reason])).to.deep.equal([['rejected', reason]]);
          stopListening();
        }
      });
    }

    it('seal, from a store that seals', async () => {
      const store = new OpenStore();
      store.load = (() => 'seal') as never;
      expect((await reject('sealed elsewhere', { store })).map(([, { reason }]) => reason)).to.deep.equal(['seal']);
    });

    it('expired: as the store says, by its end, by its age; with an event of its own', async () => {
      const old = Date.now() - 10_000;
      for (const [answer, options] of [
        ['expired', {}],
        [{ ...recordOf({}), expiresAt: Date.now() - 1 }, {}],
        [recordOf({}, old), { absoluteTimeout: 9 }],
      ] as ReadonlyArray<[unknown, SiteOptions]>) {
        const store = stubStore();
        store.load.returns(answer);
        const heard = await reject(ID, { ...options, store: asStore(store) });
        const message = { name: 'wsession', session: hash('wsession', ID), reason: 'expired' };
        expect(heard).to.deep.equal([
          ['expired', message],
          ['rejected', message],
        ]);
        stopListening();
      }
    });

    it('replaced: the session goes on under another id', async () => {
      const store = new MemoryStore();
      const { visitor } = await createSite(
        { '/': (ctx) => void (ctx.session.n = 1), '/renew': (ctx) => ctx.session.regenerate() },
        { store },
      );
      const ada = visitor();
      await ada.get('/');
      const token = tokenOf(ada.cookie);
      await ada.get('/renew');
      expect((await reject(token, { store })).map(([, { reason }]) => reason)).to.deep.equal(['replaced']);
    });

    it('replaced, and then gone, where such a request writes', async () => {
      const { visitor } = await createSite({
        '/': (ctx) => void (ctx.session.n = 1),
        '/renew': (ctx) => ctx.session.regenerate(),
      });
      const ada = visitor();
      await ada.get('/');
      const late = twinOf(ada);
      await ada.get('/renew');
      const heard = listenToEvents();
      await late.get('/');
      expect(heard.map(([event, { reason }]) => reason ?? event)).to.deep.equal(['replaced', 'gone']);
    });

    it('corrupt, once an entry turns out to be unreadable', async () => {
      const store = stubStore();
      store.load.callsFake(() => recordOf({ a: '1', n: '{' }));
      const heard = listenToEvents();
      await inRequest((ctx) => [ctx.session.a, ctx.session.n], {
        store: asStore(store),
        cookie: SOME_COOKIE,
      });
      const session = store.load.firstCall.args[0];
      expect(heard).to.deep.equal([['rejected', { name: 'wsession', session, reason: 'corrupt' }]]);
    });

    it('expired, of a signed id: under the ref that the session had', async () => {
      const clock = useFakeTimers({ now: Date.now(), toFake: ['Date'] });
      const heard = listenToEvents();
      const store = stubStore();
      const { visitor } = await createSite(
        { '/': (ctx) => void (ctx.session.a = 1) },
        { store: asStore(store), keys: ['k'] },
      );
      store.load.returns(recordOf({ a: '1' }));
      const ada = visitor();
      await ada.get('/');
      clock.tick(3_600_000);
      await ada.get('/');
      expect(heard.slice(0, 3).map(([event, { session }]) => [event, session])).to.deep.equal(
        ['created', 'expired', 'rejected'].map((event) => [event, heard[0]?.[1].session]),
      );
    });

    it('each of several tokens that leads nowhere', async () => {
      const store = new MemoryStore();
      const site = await createSite({ '/': (ctx) => void (ctx.session.a = 1) }, { store });
      const ada = site.visitor();
      await ada.get('/');
      const heard = listenToEvents();
      const cookie = `wsession=x; wsession=${ID}; ${ada.cookie}; wsession=y`;
      await site.visitor().get('/', { headers: { cookie } });
      expect(heard.map(([event, { reason }]) => reason ?? event).sort()).to.deep.equal([
        'malformed',
        'malformed',
        'unknown',
      ]);
    });

    describe('after a deploy', () => {
      async function tokenFrom(options: SiteOptions): Promise<string> {
        const site = await createSite({ '/': (ctx) => void (ctx.session.a = 1) }, options);
        const ada = site.visitor();
        await ada.get('/');
        return tokenOf(ada.cookie);
      }

      it('with other keys; a key that is kept still verifies', async () => {
        const store = new MemoryStore();
        const token = await tokenFrom({ store, keys: ['old'] });
        for (const options of [{ keys: ['new'] }, { keyring: ['new'] }, {}]) {
          const heard = await reject(token, { ...options, store });
          expect(heard.map(([, { reason }]) => reason)).to.deep.equal(['signature']);
          stopListening();
        }
        const site = await createSite({ '/': (ctx) => ctx.session.a }, { store, keys: ['new', 'old'] });
        const heard = listenToEvents();
        const { body } = await site.visitor().get('/', { headers: { cookie: `wsession=${token}` } });
        expect([body, heard]).to.deep.equal(['1', []]);
      });

      it('with another name', async () => {
        const store = new MemoryStore();
        const token = await tokenFrom({ store });
        const signed = await tokenFrom({ store, keys: ['k'] });
        for (const name of ['other', 'wsession2']) {
          expect((await reject(token, { store, name })).map(([, { reason }]) => reason)).to.deep.equal(['unknown']);
          stopListening();
          expect((await reject(signed, { store, name, keys: ['k'] })).map(([, { reason }]) => reason)).to.deep.equal([
            'signature',
          ]);
          stopListening();
        }
      });

      it('with another prefix, or an empty store', async () => {
        const token = await tokenFrom({ store: new MemoryStore() });
        const heard = await reject(token, { store: new MemoryStore() });
        expect(heard.map(([, { reason }]) => reason)).to.deep.equal(['unknown']);
      });
    });
  });
});

describe('the traces', () => {
  afterEach(tidyEvents);

  const steps = (heard: readonly Heard[]) => heard.map(([step]) => step);
  const FRAME = (call: string) => [`${call}:start`, `${call}:end`, `${call}:asyncStart`, `${call}:asyncEnd`];

  it('frame each call to the store that answers at once', async () => {
    useFakeTimers({ toFake: ['performance'] }); // else a token that is a while old is looked at once more
    const site = await createSite({
      '/': async (ctx, { of }) => {
        ctx.session.n = (ctx.session.n ?? 0) + 1;
        await ctx.session.save();
        return of(ctx).ref;
      },
      '/end': (ctx) => ctx.session.destroy(),
    });
    const ada = site.visitor();
    const heard = listenToCalls();
    const ref = (await ada.get('/')).json();
    expect(steps(heard.splice(0))).to.deep.equal(FRAME('save'));
    await ada.get('/');
    expect(steps(heard)).to.deep.equal([...FRAME('load'), ...FRAME('save')]);
    await ada.get('/end');
    expect(steps(heard)).to.deep.equal([...FRAME('load'), ...FRAME('save'), ...FRAME('load'), ...FRAME('destroy')]);
    for (const [, message] of heard) expect(message).to.deep.equal({ name: 'wsession', session: ref });
  });

  it('and each that is waited for', async () => {
    useFakeTimers({ toFake: ['performance'] });
    const store = stubStore();
    store.load.callsFake(async () => recordOf({ n: '1' }));
    store.update.callsFake(async () => UPDATED);
    store.destroy.callsFake(async () => ({ outcome: 'none' }));
    const heard = listenToCalls();
    await inRequest(
      async (ctx) => {
        ctx.session.n = 2;
        await ctx.session.save();
        await ctx.session.destroy();
      },
      { store: asStore(store), cookie: SOME_COOKIE },
    );
    expect(steps(heard)).to.deep.equal([...FRAME('load'), ...FRAME('save'), ...FRAME('destroy')]);
  });

  it('tell of the error that the caller gets: thrown, rejected or too late', async () => {
    for (const [answer, expected] of [
      [
        () => {
          throw new Error('down');
        },
        ['load:start', 'load:error', 'load:end', 'load:asyncStart', 'load:asyncEnd'],
      ],
      [
        () => Promise.reject(new Error('down')),
        ['load:start', 'load:end', 'load:error', 'load:asyncStart', 'load:asyncEnd'],
      ],
      [
        () => new Promise(() => undefined),
        ['load:start', 'load:end', 'load:error', 'load:asyncStart', 'load:asyncEnd'],
      ],
    ] as ReadonlyArray<[() => unknown, string[]]>) {
      const store = stubStore();
      store.load.callsFake(answer);
      const heard = listenToCalls();
      let caught: unknown;
      await inRequest(async (ctx) => void (caught = await errorOf(() => ctx.session.a)), {
        store: asStore(store),
        cookie: SOME_COOKIE,
        timeout: 20,
      });
      expect(steps(heard)).to.deep.equal(expected);
      expect(caught).to.be.instanceOf(UnavailableError);
      const told = heard.find(([step]) => step === 'load:error')?.[1].error;
      expect(told).to.equal(caught);
      stopListening();
    }
  });

  it('and the events hold no token, no id and no value', async () => {
    for (const store of [new MemoryStore(), new OpenStore()]) {
      const messages = [listenToEvents(), listenToCalls()];
      const site = await createSite(
        {
          '/': async (ctx, { of }) => {
            ctx.session.keyToHide = 'value-to-hide';
            of(ctx).flash('note', 'flash-to-hide');
            await of(ctx).logIn('owner-to-hide', { label: 'label-to-hide' });
          },
          '/regenerate': (ctx) => ctx.session.regenerate(),
          '/end': (ctx) => ctx.session.destroy(),
        },
        { store, keys: ['secret-to-hide'], rolling: true },
      );
      const ada = site.visitor();
      const tokens: string[] = [];
      for (const path of ['/', '/regenerate', '/', '/end']) {
        const held = ada.cookie;
        if (held) tokens.push(tokenOf(held));
        await ada.get(path);
      }
      tokens.push('forged-token-to-hide');
      await site.visitor().get('/', { headers: { cookie: 'wsession=forged-token-to-hide' } });
      const all = inspect(messages, { depth: 20, maxStringLength: null, maxArrayLength: null });
      expect(messages.flat().length).to.be.greaterThan(10);
      expect(all).not.to.include('to-hide');
      expect(all).not.to.include('keyToHide');
      for (const token of tokens) {
        expect(all).not.to.include(token);
        expect(all).not.to.include(token.slice(0, 32));
      }
      stopListening();
      await tidy();
    }
  });

  it('and the events compute nothing without subscribers', async () => {
    const store = new OpenStore();
    const site = await createSite(
      {
        '/': (ctx) => void (ctx.session.a = 1),
        '/read': (ctx) => ctx.session.a,
        '/end': (ctx) => ctx.session.destroy(),
      },
      { store, name: 'counted' },
    );
    const ada = site.visitor();
    await ada.get('/');
    const hashes = spy(crypto, 'hash');
    const count = () => hashes.args.filter(([, data]) => String(data).startsWith('counted\0')).length; // not of other tests
    syncBuiltinESMExports();
    try {
      await site.visitor().get('/read', { headers: { cookie: 'counted=forged' } });
      await ada.get('/read');
      await ada.get('/', { headers: { cookie: ada.cookie } });
      expect(count(), 'without').to.equal(0);
      listenToCalls();
      await ada.get('/read');
      expect(count(), 'with').to.equal(1);
    } finally {
      restore();
      syncBuiltinESMExports();
    }
  });
});
