import crypto, { createHash } from 'node:crypto';
import { syncBuiltinESMExports } from 'node:module';
import { expect } from 'chai';
import { MemoryStore } from 'koa-wsession/memory';
import { restore, spy, useFakeTimers } from 'sinon';
import { asStore, createSite, inRequest, OpenStore, recordOf, SOME_COOKIE, stubStore, tidy } from './helpers.js';

/** The addresses that were asked for, for a Cookie header. */
async function asked(cookie: string, name = 'wsession'): Promise<string[]> {
  const store = stubStore();
  store.load.returns(undefined);
  const { status, setCookie } = await inRequest((ctx) => void ctx.session.a, {
    store: asStore(store),
    cookie,
    name,
  });
  expect([status, setCookie]).to.deep.equal([200, []]);
  return store.load.args.map(([key]) => key);
}

function addressOf(name: string, id: string): string {
  return createHash('sha256').update(`${name}\0${id}`).digest('base64url');
}

const id = (letter: string) => letter.repeat(32);

describe('the cookie', () => {
  afterEach(tidy);

  it('is found among others, at any place, quoted or not', async () => {
    const expected = [addressOf('wsession', id('A'))];
    for (const header of [
      `wsession=${id('A')}`,
      `a=1; wsession=${id('A')}; b=2`,
      `a=1;wsession=${id('A')};b=2`,
      `  wsession=${id('A')} ;`,
      `a=1; \t wsession=${id('A')}\t`,
      `;;wsession=${id('A')};;`,
      `a; wsession=${id('A')}`,
      `a="x; wsession=${id('A')}`,
      `wsession="${id('A')}"`, // as Java's clients send it (RFC 6265, 4.1.1)
      `a=1; wsession="${id('A')}"; b="2"`,
    ])
      expect(await asked(header), header).to.deep.equal(expected);
  });

  it('is not what only looks alike', async () => {
    for (const header of [
      `xwsession=${id('A')}`,
      `x-wsession=${id('A')}`,
      `x wsession=${id('A')}`,
      `wsession2=${id('A')}`,
      `wsession =${id('A')}`,
      `a=wsession=${id('A')}`,
      `WSESSION=${id('A')}`,
      `wsession%3D${id('A')}`,
      `wsession="${id('A')}`,
      `wsession="${id('A')}A`,
      `wsession=${id('A')}"`,
      `wsession=""${id('A')}""`,
      'wsession="',
      'wsession=""',
      `wsession=${id('A').slice(1)}`,
      `wsession=${id('A')}A`,
      `wsession=${id('A')}.`,
      `wsession=${id('A')} x`,
      `wsession=${id('+')}`,
      `wsession=${id('/')}`,
      'wsession=',
      'wsession',
      '=',
      '',
    ])
      expect(await asked(header), header).to.deep.equal([]);
  });

  it('may have any name that a cookie may have', async () => {
    for (const name of ['a', '.*', '$&', 'a.b', '__Secure', 'x|y^z']) {
      expect(await asked(`${name}=${id('A')}`, name), name).to.deep.equal([addressOf(name, id('A'))]);
    }
    expect(await asked(`aa=${id('B')}; a=${id('A')}; aaa=${id('C')}`, 'a')).to.deep.equal([addressOf('a', id('A'))]);
  });

  it('that comes several times is looked up, at most eight of them', async () => {
    const letters = 'ABCDEFGHIJ'.split('');
    const header = letters.map((letter) => `wsession=${id(letter)}`).join('; ');
    expect(await asked(header)).to.deep.equal(letters.slice(0, 8).map((it) => addressOf('wsession', id(it))));
  });

  for (const [kind, createStore] of [
    ['kept', () => new MemoryStore()],
    ['sealed', () => new OpenStore()],
  ] as const)
    it(`that comes several times: of the ${kind} sessions, the one that was updated last counts`, async () => {
      const clock = useFakeTimers({ toFake: ['Date'], now: 1e12 });
      const { visitor } = await createSite(
        { '/': (ctx) => void (ctx.session.user = ctx.query.name), '/get': (ctx) => ctx.session.user ?? null },
        { store: createStore() },
      );
      const [ada, bob] = [visitor(), visitor()];
      const reader = visitor();
      const get = async (...parts: string[]) =>
        (await reader.get('/get', { headers: { cookie: parts.join('; ') } })).json();
      await ada.get('/?name=ada');
      clock.tick(1000);
      await bob.get('/?name=bob');
      expect(await get(SOME_COOKIE, 'wsession=x', ada.cookie, bob.cookie)).to.equal('bob');
      expect(await get(bob.cookie, SOME_COOKIE, ada.cookie)).to.equal('bob');
      clock.tick(1000);
      await ada.get('/?name=ada again');
      expect(await get(bob.cookie, ada.cookie)).to.equal('ada again');
      expect(await get(ada.cookie, bob.cookie)).to.equal('ada again');
      expect(await get(...Array(8).fill('wsession=x'), ada.cookie)).to.equal(null);
    });

  it('that comes several times: one whose session was replaced counts only where there is no other', async () => {
    const { visitor } = await createSite({
      '/': (ctx) => void (ctx.session.user = ctx.query.name),
      '/regenerate': (ctx) => ctx.session.regenerate(),
      '/get': (ctx) => ctx.session.user ?? null,
    });
    const [ada, bob] = [visitor(), visitor()];
    await bob.get('/?name=bob');
    await ada.get('/?name=ada');
    const replaced = ada.cookie;
    await ada.get('/regenerate');
    const get = async (...parts: string[]) =>
      (await visitor().get('/get', { headers: { cookie: parts.join('; ') } })).json();
    expect([await get(replaced), await get(replaced, bob.cookie), await get(bob.cookie, replaced)]).to.deep.equal([
      null,
      'bob',
      'bob',
    ]);
  });

  it('of one visitor on two paths is written where the newest session is', async () => {
    const store = new MemoryStore();
    const { visitor } = await createSite(
      { '/': (ctx) => void (ctx.session.user = ctx.query.name), '/get': (ctx) => ctx.session.user ?? null },
      { store },
    );
    const [old, current] = [visitor(), visitor()];
    const clock = useFakeTimers({ toFake: ['Date'] });
    await old.get('/?name=old');
    clock.tick(1000);
    await current.get('/?name=current');
    clock.tick(1000);
    const headers = { cookie: `${old.cookie}; ${current.cookie}` };
    await visitor().get('/?name=changed', { headers });
    expect([(await old.get('/get')).json(), (await current.get('/get')).json()]).to.deep.equal(['old', 'changed']);
  });

  it('larger than browsers keep is ignored', async () => {
    const store = new OpenStore();
    const { visitor } = await createSite({ '/': (ctx) => void ctx.session.a }, { store });
    for (const [length, calls] of [
      [4096 - 'wsession'.length, ['load']],
      [4097 - 'wsession'.length, []],
      [15_000, []],
    ] as const) {
      store.calls.length = 0;
      await visitor().get('/', { headers: { cookie: `wsession=${'A'.repeat(length)}` } });
      expect(store.calls).to.deep.equal(calls);
    }
  });

  it('is not found in a header as large as can be sent, full of what looks like it', async () => {
    for (const header of ['a'.repeat(15_000), 'a '.repeat(7500), 'a;'.repeat(7500), 'a=;'.repeat(5000)]) {
      expect(await asked(`x=1;${header}`, 'a')).to.deep.equal([]);
    }
  });
});

describe('the id', () => {
  afterEach(tidy);

  it('is 192 random bits, made here only, and new for each session', async () => {
    const { visitor } = await createSite({ '/': (ctx) => void (ctx.session.a = 1) });
    const ids = new Set<string>();
    const bits = new Set<string>();
    for (let i = 0; i < 200; i++) {
      const client = visitor();
      client.jar.set('wsession', id('A')); // an id that the visitor chose
      await client.get('/');
      const made = String(client.jar.get('wsession'));
      expect(made).to.match(/^[\w-]{32}$/);
      expect(Buffer.from(made, 'base64url')).to.have.length(24);
      ids.add(made);
      for (const [at, letter] of [...made].entries()) bits.add(`${at}${letter}`);
    }
    expect(ids.size).to.equal(200);
    expect(ids.has(id('A'))).to.equal(false);
    expect(bits.size).to.be.greaterThan(32 * 50); // each of 64 letters at each place, nearly
  });

  it('never reaches the store, which gets a hash over name and id', async () => {
    const store = stubStore();
    const { visitor } = await createSite(
      {
        '/': (ctx) => void (ctx.session.a = 1),
        '/more': async (ctx, sessions) => {
          ctx.session.b = 1;
          await sessions.of(ctx).update('n', (n) => n + 1);
          await ctx.session.regenerate();
          await ctx.session.destroy();
        },
      },
      { store: asStore(store), name: 'mine', keys: ['key'] },
    );
    const client = visitor();
    await client.get('/');
    const [made] = String(client.jar.get('mine')).split('.');
    expect(store.create.firstCall.args[0]).to.equal(addressOf('mine', String(made)));
    await client.get('/more');
    const given = [store.load, store.create, store.update, store.destroy].flatMap(({ args }) => args as unknown[][]);
    expect(given.length).to.be.greaterThan(4);
    for (const args of given) {
      const text = JSON.stringify(args, (_, it) => (it instanceof Map ? [...it] : it));
      expect(text).to.not.include(made);
      expect(args[0]).to.match(/^[\w-]{43}$/);
    }
  });

  it('is hashed once while its requests are recent: not over a thousand ids ago', async () => {
    const site = await createSite(
      { '/': (ctx) => void (ctx.session.a = 1), '/read': (ctx) => ctx.session.a },
      { store: new MemoryStore(), name: 'hashed' },
    );
    const ada = site.visitor();
    await ada.get('/');
    const hashes = spy(crypto, 'hash');
    syncBuiltinESMExports();
    try {
      for (let i = 0; i < 3; i++) expect((await ada.get('/read')).body).to.equal('1');
      const ofAda = () => hashes.args.filter(([, text]) => text === `hashed\0${ada.cookie.slice('hashed='.length)}`);
      expect(ofAda()).to.have.length(1);
      const others = Array.from({ length: 1000 }, (_, i) => String(i).padStart(32, 'x'));
      for (const other of others) await site.visitor().get('/read', { headers: { cookie: `hashed=${other}` } });
      expect((await ada.get('/read')).body).to.equal('1');
      expect(ofAda()).to.have.length(2);
    } finally {
      restore();
      syncBuiltinESMExports();
    }
  });

  it('that is hostile never reaches the store', async () => {
    for (const value of ['../../etc/passwd', '%2e%2e%2f', '..', 'a/b', '__proto__', '*', 'con', `${id('A')}\\0`]) {
      expect(await asked(`wsession=${value}`), value).to.deep.equal([]);
    }
  });
});

describe('an expired session', () => {
  afterEach(tidy);

  it('is none, even if the store returns it', async () => {
    const now = Date.now();
    for (const [record, options, alive] of [
      [{ ...recordOf({ n: '1' }), expiresAt: now - 1 }, {}, false],
      [{ ...recordOf({ n: '1' }), expiresAt: now + 60_000 }, {}, true],
      [recordOf({ n: '1' }, now - 10_000), { absoluteTimeout: 10 }, false],
      [recordOf({ n: '1' }, now - 10_000), { absoluteTimeout: 60 }, true],
    ] as const) {
      const store = stubStore();
      store.load.returns(record);
      const { body } = await inRequest((ctx) => [ctx.session.n ?? null, ctx.session.isNew], {
        store: asStore(store),
        cookie: SOME_COOKIE,
        ...options,
      });
      expect(JSON.parse(body)).to.deep.equal(alive ? [1, false] : [null, true]);
    }
  });

  it('is followed by a new one, with an id of its own', async () => {
    const store = stubStore();
    store.load.returns({ ...recordOf({ n: '1' }), expiresAt: Date.now() - 1 });
    const { setCookie } = await inRequest((ctx) => void (ctx.session.a = 1), {
      store: asStore(store),
      cookie: SOME_COOKIE,
    });
    expect(store.create.firstCall.args[0]).to.not.equal(store.load.firstCall.args[0]);
    expect(setCookie[0]).to.not.include(SOME_COOKIE);
  });
});
