import { expect } from 'chai';
import type Koa from 'koa';
import { OptionError, type SessionOptions, session } from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import { spy } from 'sinon';
import { asStore, createSite, errorOf, OpenStore, stubStore, tidy } from './helpers.js';

describe('adopt', () => {
  afterEach(tidy);

  const handlers = {
    '/': (ctx: Koa.Context) => ({ ...ctx.session }),
    '/untouched': () => 'fine',
  };
  const fromOld = (clear?: string | string[]) =>
    spy(
      Object.assign(
        (ctx: Koa.Context) => {
          const user = ctx.cookies.get('old');
          return user === undefined ? undefined : { user };
        },
        clear === undefined ? {} : { clear },
      ),
    );

  it('makes a session of what the app finds elsewhere, once, and clears the old cookies', async () => {
    for (const store of [new MemoryStore(), new OpenStore()]) {
      const adopt = Object.assign(fromOld(), { clear: ['old', 'old.sig'] });
      const { visitor } = await createSite(handlers, { store, adopt });
      const ada = visitor();
      ada.jar.set('old', 'ada');
      const first = await ada.get('/');
      expect(first.json()).to.deep.equal({ user: 'ada' });
      expect(first.setCookie.map((line) => line.split(';')[0]?.split('=')[0])).to.deep.equal([
        'wsession',
        'old',
      ]);
      expect([...ada.jar.keys()]).to.deep.equal(['wsession']);
      expect((await ada.get('/')).json()).to.deep.equal({ user: 'ada' });
      expect(adopt.callCount).to.equal(1);
    }
  });

  it('with clear asks only where one of those cookies is sent', async () => {
    const adopt = Object.assign(fromOld(), { clear: 'old' });
    const { visitor } = await createSite(handlers, { adopt });
    await visitor().get('/');
    expect(adopt.callCount).to.equal(0);
  });

  it('without clear asks for each visitor without a session, and deletes no cookie', async () => {
    const adopt = fromOld();
    const { visitor } = await createSite(handlers, { adopt });
    const ada = visitor();
    expect((await ada.get('/')).setCookie).to.deep.equal([]);
    ada.jar.set('old', 'ada');
    expect((await ada.get('/untouched')).setCookie).to.have.length(1);
    expect((await ada.get('/')).json()).to.deep.equal({ user: 'ada' });
    expect(adopt.callCount).to.equal(2);
    expect(ada.jar.has('old')).to.equal(true);
  });

  it('that finds nothing clears the cookies, and makes no session', async () => {
    const adopt = Object.assign(async () => undefined, { clear: 'old' });
    const { visitor } = await createSite(handlers, { adopt });
    const ada = visitor();
    ada.jar.set('old', 'x');
    expect((await ada.get('/')).setCookie).to.deep.equal([
      'old=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/',
    ]);
  });

  it('does not ask where the visitor has a session, or where that can not be told', async () => {
    const adopt = fromOld('old');
    const store = stubStore();
    const { visitor } = await createSite(handlers, { store: asStore(store), adopt });
    const headers = { cookie: `old=ada; wsession=${'A'.repeat(32)}` };
    expect((await visitor().get('/', { headers })).json()).to.deep.equal({ n: 1 });
    store.load.rejects(new Error('down'));
    expect((await visitor().get('/', { headers })).status).to.equal(503);
    expect((await visitor().get('/untouched', { headers })).status).to.equal(200);
    expect(adopt.callCount).to.equal(0);
  });

  it('over plain http does not ask for a secure session', async () => {
    const adopt = fromOld('old');
    const { visitor } = await createSite(handlers, { store: new MemoryStore({ secure: true }), adopt });
    const ada = visitor();
    ada.jar.set('old', 'ada');
    expect((await ada.get('/')).setCookie).to.deep.equal([]);
    expect(adopt.callCount).to.equal(0);
  });

  it('that can not be stored leaves the old cookies, for another time', async () => {
    const store = stubStore();
    store.create.rejects(new Error('down'));
    const adopt = Object.assign(fromOld(), { clear: 'old' });
    const { visitor } = await createSite(handlers, { store: asStore(store), adopt });
    const ada = visitor();
    ada.jar.set('old', 'ada');
    const { status, setCookie } = await ada.get('/');
    expect([status, setCookie]).to.deep.equal([503, []]);
    store.create.returns({ outcome: 'created' });
    expect((await ada.get('/')).json()).to.deep.equal({ user: 'ada' });
  });

  it('that can not be one is refused when it is constructed', async () => {
    for (const adopt of [5, 'x', {}, null, []]) {
      const error = await errorOf(() => session(new MemoryStore(), { adopt } as unknown as SessionOptions));
      expect(error).to.be.instanceOf(TypeError);
    }
    for (const clear of ['', 'a b', 5, ['ok', '']]) {
      const adopt = Object.assign(() => undefined, { clear });
      const error = await errorOf(() => session(new MemoryStore(), { adopt } as unknown as SessionOptions));
      expect(error).to.be.instanceOf(OptionError);
      expect(error.message).to.match(/^adopt\.clear is .+, but it takes a cookie name, or a list of them/);
    }
  });
});
