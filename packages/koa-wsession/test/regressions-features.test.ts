import { expect } from 'chai';
import { headerTransport, session } from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import { stub } from 'sinon';
import { asStore, createSite, Gate, stubStore, tidy } from './helpers.js';

/* What was wrong once, named by what went wrong. */
describe('never again, with owners, adoption and messages:', () => {
  afterEach(tidy);

  it('revoke() misses a session that is regenerated meanwhile: it goes on under its new id', async () => {
    const store = new MemoryStore();
    const [listed, regenerated] = [new Gate(), new Gate()];
    const sessions = session(store);
    const { visitor } = await createSite(
      {
        '/login': (ctx) => {
          ctx.session.user = 'ada';
          ctx.session.owner = 'ada';
        },
        '/regenerate': (ctx) => ctx.session.regenerate(),
        '/get': (ctx) => ctx.session.user ?? null,
      },
      { store },
    );
    const ada = visitor();
    await ada.get('/login');
    const { keys } = store.owners;
    stub(store.owners, 'keys').callsFake((async (...args: Parameters<typeof keys>) => {
      const found = await keys(...args);
      listed.open();
      await regenerated.passed;
      return found;
    }) as never);
    const revoking = sessions.revoke('ada');
    await listed.passed;
    await ada.get('/regenerate');
    regenerated.open();
    await revoking;
    expect((await ada.get('/get')).json()).to.equal(null);
  });

  it('list() fails for an owner one of whose records has a damaged label', async () => {
    const store = new MemoryStore();
    const { visitor } = await createSite(
      {
        '/login': (ctx) => {
          ctx.session.owner = 'ada';
          ctx.session.label = 'a browser';
          ctx.session.user = 'ada';
        },
      },
      { store },
    );
    await visitor().get('/login');
    const { load } = store;
    stub(store, 'load').callsFake((key) => {
      const record = load.call(store, key);
      return record && { ...record, entries: new Map([...record.entries, ['\0label', '{']]) };
    });
    expect(await session(store).list('ada')).to.be.an('array');
  });

  it('an outage during adopt hits the pages that never touch the session', async () => {
    const store = stubStore();
    store.create.rejects(new Error('down'));
    const adopt = Object.assign(() => ({ user: 'ada' }), { clear: 'old' });
    const { visitor } = await createSite({ '/': () => 'fine' }, { store: asStore(store), adopt });
    expect((await visitor().get('/', { headers: { cookie: 'old=1' } })).status).to.equal(200);
  });

  it('a message is lost where the request that took it fails after another one came away empty', async () => {
    const store = new MemoryStore();
    const [taken, emptied] = [new Gate(), new Gate()];
    const { visitor } = await createSite(
      {
        '/': (ctx) => ctx.session.flash('note', 'x'),
        '/slow': async (ctx) => {
          ctx.session.flash('note');
          taken.open();
          await emptied.passed;
          stub(store, 'update').throws(new Error('down'));
        },
        '/take': (ctx) => ctx.session.flash('note') ?? null,
      },
      { store },
    );
    const ada = visitor();
    await ada.get('/');
    const slow = ada.get('/slow');
    await taken.passed;
    expect((await ada.get('/take')).json()).to.equal(null);
    emptied.open();
    expect((await slow).status).to.equal(503);
    (store.update as unknown as { restore(): void }).restore();
    expect((await ada.get('/take')).json()).to.equal('x');
  });

  it('a header that can not be one is found out at the first request', () => {
    for (const name of ['', 'a b', 'a:b', 'ä', 'a\n'])
      expect(() => session(new MemoryStore(), { transport: headerTransport(name) }), name).to.throw(
        TypeError,
      );
  });
});
