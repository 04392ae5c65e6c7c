import { expect } from 'chai';
import { OptionError, UnsupportedError } from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import type { Store } from 'koa-wsession/store';
import { useFakeTimers } from 'sinon';
import type { Client } from 'testkit/http';
import { createSite, errorOf, OpenStore, tidy } from './helpers.js';

describe('logIn(owner, { sid }) and revoke({ sid })', () => {
  afterEach(tidy);

  const open = (store: Store = new MemoryStore()) =>
    createSite(
      {
        '/login': (ctx, { of }) => {
          const { owner, sid } = ctx.query as Record<string, string>;
          return of(ctx).logIn(owner as string, sid === undefined ? {} : { sid });
        },
        '/confirm': (ctx, { of }) => of(ctx).confirm(),
        '/regenerate': (ctx) => ctx.session.regenerate(),
        '/logout': (ctx, { of }) => of(ctx).logOut(),
        '/count': (ctx) => void (ctx.session.n = (ctx.session.n ?? 0) + 1),
        '/owner': (ctx, { of }) => ({ owner: of(ctx).owner, data: { ...ctx.session } }),
      },
      { store },
    );

  const ownersOf = (visitors: readonly Client[]) =>
    Promise.all(visitors.map(async (one) => (await one.get('/owner')).json().owner));

  it('ends the sessions that the provider’s session began, and no others', async () => {
    const { visitor, sessions } = await open();
    const visitors = ['owner=ada&sid=s1', 'owner=ada&sid=s2', 'owner=ada', 'owner=bob&sid=s1'].map(async (query) => {
      const one = visitor();
      await one.get(`/login?${query}`);
      return one;
    });
    const all = await Promise.all(visitors);
    expect(await sessions.revoke({ sid: 's1' })).to.equal(2);
    expect(await ownersOf(all)).to.deep.equal([undefined, 'ada', 'ada', undefined]);
    expect(await sessions.revoke({ sid: 's1' })).to.equal(0);
    expect(await sessions.revoke({ sid: 'ada' }), 'an owner is no sid').to.equal(0);
    expect(await sessions.revoke('ada')).to.equal(2);
  });

  it('finds a session under each new id, as long as it lives', async () => {
    const clock = useFakeTimers({ now: 1_000_000, toFake: ['Date'] });
    const { visitor, sessions } = await open();
    const ada = visitor();
    await ada.get('/login?owner=ada&sid=s1');
    for (const path of ['/regenerate', '/confirm']) await ada.get(path);
    for (let hours = 0; hours < 20; hours++) {
      clock.tick(3_000_000);
      await ada.get('/count');
    }
    expect((await ada.get('/owner')).json()).to.deep.equal({ owner: 'ada', data: { n: 20 } });
    expect(await sessions.revoke({ sid: 's1' })).to.equal(1);
    expect(await ownersOf([ada])).to.deep.equal([undefined]);
  });

  it('belongs to one login: another one, of the same owner, has its own or none', async () => {
    const { visitor, sessions } = await open();
    const ada = visitor();
    for (const query of ['owner=ada&sid=s1', 'owner=ada&sid=s2', 'owner=ada']) await ada.get(`/login?${query}`);
    expect([await sessions.revoke({ sid: 's1' }), await sessions.revoke({ sid: 's2' })]).to.deep.equal([0, 0]);
    expect(await ownersOf([ada])).to.deep.equal(['ada']);
  });

  it('leaves nothing in the index behind a logout', async () => {
    const store = new MemoryStore();
    const groups: string[] = [];
    const { add } = store.index;
    store.index.add = (group, ...more) => {
      groups.push(group);
      return add(group, ...more);
    };
    const { visitor } = await open(store);
    const ada = visitor();
    await ada.get('/login?owner=ada&sid=s1');
    expect(groups.length).to.equal(2);
    await ada.get('/logout');
    for (const group of groups) expect(store.index.keys(group, {} as never)).to.deep.equal([]);
  });

  it('takes a string that is not empty', async () => {
    const { visitor, sessions, errors } = await open();
    expect((await visitor().get('/login?owner=ada&sid=')).status).to.equal(500);
    expect(errors[0]?.message).to.equal('Invalid option sid: expected a string that is not empty, got ""');
    for (const bad of [{ sid: '' }, { sid: 5 }, {}, { sid: '\ud800' }, { sid: 's', owner: 'ada' }, null])
      expect(await errorOf(() => sessions.revoke(bad as never)), JSON.stringify(bad)).to.be.instanceOf(OptionError);
  });

  it('isn’t taken for an owner by a store that refuses sessions by group', async () => {
    const groups: unknown[] = [];
    const revokeUntil = (group: unknown) => void groups.push(group);
    const { sessions } = await open(Object.assign(new OpenStore(), { revokeUntil }));
    for (const of of ['ada', { sid: 'ada' }]) await sessions.revoke(of);
    expect(new Set(groups).size).to.equal(2);
  });

  it('is an UnsupportedError with a store that seals', async () => {
    const { visitor, sessions } = await open(new OpenStore());
    expect((await visitor().get('/login?owner=ada&sid=s1')).status).to.equal(200);
    expect(await errorOf(() => sessions.revoke({ sid: 's1' }))).to.be.instanceOf(UnsupportedError);
  });
});
