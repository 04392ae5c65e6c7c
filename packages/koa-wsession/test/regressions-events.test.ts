import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { IncomingMessage } from 'node:http';
import { Socket } from 'node:net';
import { expect } from 'chai';
import { headerTransport, OptionError, session } from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import {
  asStore,
  createSite,
  errorOf,
  inRequest,
  recordOf,
  SOME_COOKIE,
  stubStore,
  tidy,
} from './helpers.js';

/* What was wrong once, named by what has to be so. */
describe('always:', () => {
  afterEach(tidy);

  it('adopt while the store is down: a page that does not touch the session still answers', async () => {
    const store = stubStore();
    store.create.rejects(new Error('down'));
    const adopt = Object.assign(() => ({ user: 'ada' }), { clear: 'old' });
    const site = await createSite({ '/': () => 'untouched' }, { store: asStore(store), adopt });
    const { status, setCookie } = await site.visitor().get('/', { headers: { cookie: 'old=1' } });
    expect([status, setCookie]).to.deep.equal([200, []]);
  });

  it('adopt: the old cookie is deleted with an error answer, too', async () => {
    const adopt = Object.assign(() => ({ user: 'ada' }), { clear: 'old' });
    const site = await createSite({ '/': (ctx) => ctx.throw(401, 'no') }, { adopt });
    const ada = site.visitor();
    ada.jar.set('old', '1');
    await ada.get('/');
    expect([...ada.jar.keys()]).to.deep.equal(['wsession']);
  });

  it('headerTransport refuses what is no header name, before a session is stored under no token', async () => {
    for (const bad of ['', 'x session', 'x:', 'ü', undefined])
      expect(
        () => session(new MemoryStore(), { transport: headerTransport(bad as string) }),
        String(bad),
      ).to.throw(OptionError);
  });

  it('a transport of your own without its headers, or its limit, is refused', () => {
    const whole = headerTransport('x-session');
    for (const missing of ['requestHeader', 'responseHeader', 'limit', 'overhead'] as const)
      expect(
        () => session(new MemoryStore(), { transport: { ...whole, [missing]: undefined } as never }),
        missing,
      ).to.throw(OptionError);
  });

  it('a message that was taken in an opened session whose save failed can be taken again', async () => {
    const store = new MemoryStore();
    const site = await createSite(
      { '/': (ctx) => ctx.session.flash('note', 'x'), '/take': (ctx) => ctx.session.flash('note') ?? null },
      { store },
    );
    const ada = site.visitor();
    await ada.get('/');
    const request = new IncomingMessage(new Socket());
    request.headers.cookie = ada.cookie;
    const opened = await site.sessions.open(request);
    expect(opened.flash('note')).to.equal('x');
    const { update } = store;
    store.update = () => {
      throw new Error('down');
    };
    await errorOf(() => opened.save());
    store.update = update;
    expect((await ada.get('/take')).json()).to.equal('x');
  });

  it('regenerate() carries over what another request stored meanwhile, also while the index of owners is down', async () => {
    const before = { '\0owner': '"ada"', '\0listed': String(Date.now() + 7_000_000) };
    const store = stubStore();
    store.load.callsFake(() => recordOf(before));
    store.destroy.callsFake(() => recordOf({ ...before, other: '1' }));
    const owners = { add: () => undefined, remove: () => Promise.reject(new Error('down')), keys: () => [] };
    await inRequest(async (ctx) => void (await errorOf(() => ctx.session.regenerate())), {
      store: asStore({ ...store, owners } as never),
      cookie: SOME_COOKIE,
    });
    const moved = store.update.args.map(([, { set }]) => set.get('other'));
    expect(moved, 'acknowledged elsewhere, and gone with the old record').to.deep.equal(['1']);
  });

  it('a session with an unreadable entry is announced as rejected: corrupt', async () => {
    const store = stubStore();
    store.load.callsFake(() => recordOf({ n: '{' }));
    const reasons: unknown[] = [];
    const listener = (message: unknown) => void reasons.push((message as { reason?: string }).reason);
    subscribe('koa-wsession:rejected', listener);
    await inRequest((ctx) => ctx.session.n, { store: asStore(store), cookie: SOME_COOKIE });
    unsubscribe('koa-wsession:rejected', listener);
    expect(reasons).to.deep.equal(['corrupt']);
  });
});
