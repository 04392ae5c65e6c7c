import { CookieStore } from '@koa-wsession/store-cookie';
import { expect } from 'chai';
import Koa from 'koa';
import { type Sessions, session } from 'koa-wsession';
import { conformance } from 'koa-wsession/conformance';
import { encrypted } from 'koa-wsession/encrypted';
import { MemoryStore } from 'koa-wsession/memory';
import { nearCache } from 'koa-wsession/near-cache';
import type { ChangeListener, Created, SessionRecord, Store } from 'koa-wsession/store';
import sinon from 'sinon';
import { Client, type Served, serve } from 'testkit/http';
import { call, changesOf, newAddress, recordOf, SECRET } from './support.js';

const shared = new MemoryStore();

conformance(
  { describe, it, afterEach },
  {
    name: 'CookieStore with revocations',
    create: (options) => new CookieStore(SECRET, { ...options, revocations: shared }),
    capabilities: { seals: true, merges: false, revokes: true },
  },
);

/** Announces what the test says. */
class AnnouncingStore extends MemoryStore {
  readonly listeners = new Set<ChangeListener>();
  readonly created: string[] = [];
  readonly changes = {
    subscribe: (listener: ChangeListener) => {
      this.listeners.add(listener);
      return () => void this.listeners.delete(listener);
    },
    sync: async () => undefined,
  };

  override create(key: string, record: SessionRecord): Created {
    this.created.push(key);
    return super.create(key, record);
  }
}

describe('CookieStore with revocations', () => {
  const open: Served[] = [];
  afterEach(async () => {
    sinon.restore();
    await Promise.all(open.splice(0).map((served) => served.close()));
  });

  /** Two processes, so to speak: two stores that share nothing but the secret and the revocations. */
  async function openTwo(revocations: Store = new MemoryStore(), longestLifetime = 86_400) {
    const all: Sessions[] = [];
    const urls: string[] = [];
    for (let i = 0; i < 2; i++) {
      const sessions = session(new CookieStore(SECRET, { revocations, longestLifetime }));
      const app = new Koa();
      app.silent = true;
      app.use(sessions);
      app.use(async (ctx) => {
        const [, action, name = ''] = ctx.path.split('/');
        const current = sessions.of(ctx);
        if (action === 'login') await current.logIn(name, { sid: `${name}-sid` });
        if (action === 'logout') await current.logOut();
        if (action === 'count') ctx.session.counter = (ctx.session.counter ?? 0) + 1;
        if (action === 'regenerate') await ctx.session.regenerate();
        if (action === 'again') {
          await sessions.revoke(name);
          await current.logIn(name);
        }
        ctx.body = `${current.owner ?? 'nobody'} ${ctx.session.counter ?? 0}`;
      });
      const served = await serve(app);
      open.push(served);
      all.push(sessions);
      urls.push(served.url);
    }
    const enter = async (path: string): Promise<Client> => {
      const visitor = new Client(urls[0] as string);
      await visitor.get(path);
      return visitor;
    };
    /** What each process shows to the bearer of a cookie. */
    const seenBy = (cookie: string): Promise<string[]> =>
      Promise.all(urls.map(async (url) => (await new Client(url).get('/', { headers: { cookie } })).body));
    return { all: all as [Sessions, Sessions], urls, enter, seenBy };
  }

  const NOBODY = ['nobody 0', 'nobody 0'];

  it('ends a session in every process, with every token that it had', async () => {
    const { enter, seenBy } = await openTwo();
    const ada = await enter('/login/ada');
    const first = ada.cookie;
    await ada.get('/count');
    const second = ada.cookie;
    expect(await seenBy(second)).to.deep.equal(['ada 1', 'ada 1']);
    await ada.get('/logout');
    for (const cookie of [first, second]) expect(await seenBy(cookie)).to.deep.equal(NOBODY);
  });

  it('ends the former session of a login and of regenerate() in every process', async () => {
    const { enter, seenBy } = await openTwo();
    const ada = await enter('/login/ada');
    for (const path of ['/regenerate', '/login/ada']) {
      const { cookie } = ada;
      await ada.get(path);
      expect(await seenBy(cookie), path).to.deep.equal(NOBODY);
      expect(await seenBy(ada.cookie), path).to.deep.equal(['ada 0', 'ada 0']);
    }
  });

  it('ends an owner’s sessions, those of a sid, or all, that logged in before the call, also under new ids', async () => {
    const ends: Array<(sessions: Sessions) => Promise<number>> = [
      (sessions) => sessions.revoke('ada'),
      (sessions) => sessions.revoke({ sid: 'ada-sid' }),
      (sessions) => sessions.revokeAll(),
    ];
    for (const [i, end] of ends.entries()) {
      const { all, enter, seenBy, urls } = await openTwo();
      const [ada, bob, renewed] = [await enter('/login/ada'), await enter('/login/bob'), await enter('/login/ada')];
      const { cookie } = renewed;
      await renewed.get('/regenerate');
      expect(await end(all[1])).to.equal(0);
      for (const ended of [ada.cookie, cookie, renewed.cookie]) expect(await seenBy(ended)).to.deep.equal(NOBODY);
      expect(await seenBy(bob.cookie)).to.deep.equal(i === 2 ? NOBODY : ['bob 0', 'bob 0']);
      const after = new Client(urls[1] as string);
      await after.get('/login/ada');
      expect(await seenBy(after.cookie), 'a login after the call').to.deep.equal(['ada 0', 'ada 0']);
      await end(all[0]);
      expect(await seenBy(after.cookie), 'a second call').to.deep.equal(NOBODY);
    }
  });

  it('keeps the session at hand where it logs in again afterwards', async () => {
    const { enter, seenBy } = await openTwo();
    const [ada, other] = [await enter('/login/ada'), await enter('/login/ada')];
    await ada.get('/again/ada');
    expect(await seenBy(ada.cookie)).to.deep.equal(['ada 0', 'ada 0']);
    expect(await seenBy(other.cookie)).to.deep.equal(NOBODY);
  });

  it('doesn’t restore a session that another process ended while a request was in progress', async () => {
    const revocations = new MemoryStore();
    const [one, other] = [1, 2].map(() => new CookieStore(SECRET, { revocations })) as [CookieStore, CookieStore];
    const created = one.create(newAddress(), recordOf({ a: '1' }), call) as { token: string };
    const update = one.update(created.token, changesOf({ a: '2' }), call);
    expect(await other.destroy(created.token, call)).to.have.property('outcome', 'destroyed');
    const late = (await update) as { token?: string };
    for (const store of [one, other])
      for (const token of [created.token, late.token ?? created.token])
        expect(await store.load(token, call)).to.equal(undefined);
    expect(await one.destroy(created.token, call)).to.deep.equal({ outcome: 'none' });
  });

  it('lets one of two parallel calls end a session, and tells the other', async () => {
    const revocations = new MemoryStore();
    const stores = [1, 2].map(() => new CookieStore(SECRET, { revocations })) as [CookieStore, CookieStore];
    const { token } = stores[0].create(newAddress(), recordOf({ a: '1' }), call) as { token: string };
    const answers = await Promise.all(stores.map((store) => store.destroy(token, call)));
    expect(answers.map(({ outcome }) => outcome).sort()).to.deep.equal(['destroyed', 'none']);
  });

  it('ends sessions until the latest of several instants, one after the other or at once', async () => {
    const since = Date.now();
    for (const instants of [[since, since - 1], Array.from({ length: 20 }, (_, i) => since - ((i * 7 + 10) % 20))]) {
      const revocations = new MemoryStore();
      const stores = [1, 2].map(() => new CookieStore(SECRET, { revocations })) as [CookieStore, CookieStore];
      const { token } = stores[0].create(newAddress(), { ...recordOf(), createdAt: since }, call) as { token: string };
      const revoke = (instant: number, i: number) => stores[i % 2 ? 1 : 0].revokeUntil?.(undefined, instant, call);
      if (instants.length === 2) for (const [i, instant] of instants.entries()) await revoke(instant, i);
      else await Promise.all(instants.map(revoke)); // the latest is neither the first nor the last
      expect(await stores[0].load(token, call)).to.equal(undefined);
    }
  });

  it('keeps no token longer than longestLifetime after its last change, and marks as long as that', async () => {
    const clock = sinon.useFakeTimers({ now: 1e12, toFake: ['Date'] });
    const revocations = new MemoryStore();
    const ends: number[] = [];
    const { create } = revocations;
    revocations.create = (key, record) => {
      ends.push(record.expiresAt - Date.now());
      return create.call(revocations, key, record);
    };
    const store = new CookieStore(SECRET, { revocations, longestLifetime: 1000 });
    const make = () => store.create(newAddress(), recordOf({ a: '1' }, 5_000_000), call) as { token: string };
    const { token } = make();
    await store.destroy(make().token, call);
    expect(ends).to.deep.equal([1_060_000]);
    clock.tick(999_999);
    expect(await store.load(token, call)).to.have.property('entries');
    clock.tick(1);
    expect(await store.load(token, call)).to.equal('expired');
  });

  it('with a near cache asks the revocations once for several reads, and each time for a write', async () => {
    const revocations = new AnnouncingStore();
    const near = nearCache(revocations);
    const load = sinon.spy(revocations, 'load');
    const { enter, urls } = await openTwo(near);
    const ada = await enter('/login/ada');
    const get = (path: string) => new Client(urls[1] as string).get(path, { headers: { cookie: ada.cookie } });
    await get('/');
    load.resetHistory();
    for (let i = 0; i < 3; i++) expect((await get('/')).body).to.equal('ada 0');
    expect(load.callCount).to.equal(0);
    await get('/count');
    expect(load.callCount).to.be.greaterThan(0);
    await near.close();
  });

  it('with a near cache stores nothing in a session that another process ended, announced or not; announced, it is read no more', async () => {
    const revocations = new AnnouncingStore();
    const near = nearCache(revocations);
    const one = new CookieStore(SECRET, { revocations: near });
    const other = new CookieStore(SECRET, { revocations });
    const { token } = one.create(newAddress(), recordOf({ a: '1' }), call) as { token: string };
    const read = () => one.load(token, { ...call, atLeast: 0 });
    for (let i = 0; i < 2; i++) expect(await read()).to.have.property('entries');
    await other.destroy(token, call);
    expect(await read(), 'not announced yet').to.have.property('entries');
    expect(await one.update(token, changesOf({ a: '2' }), call)).to.deep.equal({ outcome: 'gone' });
    for (const key of revocations.created) for (const listener of revocations.listeners) listener.changed(key);
    expect(await read()).to.equal(undefined);
    await near.close();
  });

  it('keeps no token in the revocations, but the successor of a replaced session can be found', async () => {
    const revocations = new MemoryStore();
    const created = sinon.spy(revocations, 'create');
    const [one, other] = [1, 2].map(() => new CookieStore(SECRET, { revocations })) as [CookieStore, CookieStore];
    const { token } = one.create(newAddress(), recordOf({ a: '1' }), call) as { token: string };
    const { token: by } = one.create(newAddress(), recordOf({ a: '2' }), call) as { token: string };
    const until = Date.now() + 60_000;
    await one.destroy(token, { ...call, replaced: { by, until } });
    for (const [, { entries }] of created.args) for (const text of entries.values()) expect(text).to.not.include(by);
    expect(await other.load(token, call)).to.deep.equal({ by, until });
  });

  it('may be encrypted, and hold for sessions of all names', async () => {
    const revocations = encrypted(new MemoryStore(), 'a secret of at least thirty-two bytes');
    const store = new CookieStore(SECRET, { revocations });
    const inName = (name: string) => ({ ...call, name });
    const tokens = ['a', 'b'].map(
      (name) => (store.create(newAddress(), recordOf({ x: '1' }), inName(name)) as { token: string }).token,
    );
    await store.revokeUntil?.(undefined, Date.now(), inName('a'));
    for (const [i, name] of ['a', 'b'].entries())
      expect(await store.load(tokens[i] as string, inName(name)), name).to.equal(undefined);
  });

  it('is a 503, and no login, where a mark can’t be read', async () => {
    const marks = new MemoryStore();
    const inside = (secret: string) => new CookieStore(SECRET, { revocations: encrypted(marks, secret) });
    const { enter, urls } = await openTwo(encrypted(marks, 'a secret of at least thirty-two bytes'));
    const ada = await enter('/login/ada');
    const { cookie } = ada;
    await ada.get('/logout');
    const token = cookie.slice(cookie.indexOf('=') + 1);
    const wrong = inside('another secret of thirty-two bytes');
    const error = await Promise.resolve(wrong.load(token, { ...call, name: 'wsession' })).catch((problem) => problem);
    expect(error).to.be.instanceOf(Error);
    expect(urls).to.have.length(2);
  });

  it('is a 503 while the revocations can’t be asked, and the visitor keeps the cookie', async () => {
    const revocations = new MemoryStore();
    const { enter, urls } = await openTwo(revocations);
    const ada = await enter('/login/ada');
    revocations.load = () => {
      throw new Error('down');
    };
    const { status, setCookie } = await new Client(urls[1] as string).get('/', { headers: { cookie: ada.cookie } });
    expect([status, setCookie]).to.deep.equal([503, []]);
  });

  it('can’t list sessions, nor end all but one', async () => {
    const { all } = await openTwo();
    for (const attempt of [() => all[0].list('ada'), () => all[0].revoke('ada', { only: 'x' })]) {
      const error = await attempt().then(String, ({ code }) => code);
      expect(error).to.equal('WSESSION_UNSUPPORTED');
    }
  });

  it('takes a store on the server, and seconds', () => {
    const revocations = new MemoryStore();
    for (const options of [
      { revocations: new CookieStore(SECRET) },
      { revocations: null },
      { revocations: 'redis' },
      { revocations, longestLifetime: 0 },
      { revocations, longestLifetime: 400 * 86_400 + 1 },
      { revocations, longestLifetime: '1d' },
    ])
      expect(() => new CookieStore(SECRET, options as never))
        .to.throw()
        .with.property('code', 'WSESSION_OPTION');
    expect(new CookieStore(SECRET, { revocations }).capabilities.revokes).to.equal(true);
  });
});
