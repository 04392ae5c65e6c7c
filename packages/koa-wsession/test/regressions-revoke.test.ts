import { expect } from 'chai';
import { MemoryStore } from 'koa-wsession/memory';
import { stub } from 'sinon';
import { createSite, Gate, tidy } from './helpers.js';

/* What was wrong once, named by what went wrong. */
describe('never again, with revoke():', () => {
  afterEach(tidy);

  it('revoke() misses a session whose new id is in the index before its record is in the store', async () => {
    const store = new MemoryStore();
    const { visitor, sessions } = await createSite(
      {
        '/login': (ctx) => void Object.assign(ctx.session, { user: 'ada', owner: 'ada' }),
        '/regenerate': (ctx) => ctx.session.regenerate(),
        '/get': (ctx) => ctx.session.user ?? null,
      },
      { store },
    );
    const ada = visitor();
    await ada.get('/login');
    const [arrived, released, regenerated] = [new Gate(), new Gate(), new Gate()];
    const { create, destroy } = store;
    stub(store, 'create').callsFake((async (...args: Parameters<typeof create>) => {
      arrived.open(); // the index names the new id by now
      await released.passed;
      return create.apply(store, args);
    }) as never);
    stub(store, 'destroy')
      .callsFake((...args) => destroy.apply(store, args))
      .onFirstCall()
      .callsFake((async (...args: Parameters<typeof destroy>) => {
        released.open(); // revoke() has looked for both ids, and is about to end the old one
        await regenerated.passed;
        return destroy.apply(store, args);
      }) as never);
    const regenerating = ada.get('/regenerate');
    await arrived.passed;
    const revoking = sessions.revoke('ada');
    expect((await regenerating).status).to.equal(200);
    regenerated.open();
    await revoking;
    expect((await ada.get('/get')).json()).to.equal(null);
  });
});
