import assert from 'node:assert/strict';
import type { Suite } from '../suite.js';
import { count, Gate, logIn, logOut, openSite, read, type Site } from './site.js';

/** A site where `/slow` waits between loading the session and changing it. */
function openSlowSite(suite: Suite, gate: Gate): Promise<Site> {
  return openSite(suite, {
    '/': count,
    '/slow': async (ctx) => {
      ctx.session.counter; // loaded by now
      await gate.pass();
      ctx.session.stale = true;
    },
    '/login': logIn,
    '/logout': logOut,
    '/get': read,
  });
}

export function describeEnds(suite: Suite): void {
  const { it } = suite;

  it('a logout is final, for a request in flight too: 409, nothing stored, no cookie', async () => {
    const gate = new Gate();
    const { visitor } = await openSlowSite(suite, gate);
    const ada = visitor();
    await ada.get('/');
    const old = visitor(ada.cookie);
    const slow = visitor(ada.cookie).get('/slow');
    await gate.reached;
    assert.match((await ada.get('/logout')).setCookie ?? '', /^conformance=;.*Max-Age=0/);
    gate.open();
    const { status, setCookie } = await slow;
    assert.deepEqual([status, setCookie], [409, undefined]);
    assert.equal((await old.get('/get')).text, '{}');
    assert.deepEqual([(await old.get('/')).text, old.cookie !== undefined], ['1', true], 'a new session');
  });

  it('a login survives the requests in flight: 409, nothing stored, no cookie', async () => {
    const gate = new Gate();
    const { visitor } = await openSlowSite(suite, gate);
    const ada = visitor();
    await ada.get('/');
    const cookie = ada.cookie as string;
    const slow = ada.get('/slow');
    await gate.reached;
    assert.equal((await ada.get('/login')).status, 200);
    assert.notEqual(ada.cookie, cookie);
    gate.open();
    const late = ['/', '/', '/'].map((path) => ada.get(path, { cookie }));
    for (const { status, setCookie } of await Promise.all([slow, ...late])) {
      assert.deepEqual([status, setCookie], [409, undefined]);
    }
    const { status, text, setCookie } = await ada.get('/get', { cookie });
    assert.deepEqual([status, text, setCookie], [200, '{}', undefined], 'the old id reads as anonymous');
    assert.deepEqual(JSON.parse((await ada.get('/get')).text), { counter: 1, owner: 'ada' });
  });
}

export function describeTwoLogins(suite: Suite): void {
  const { it, fixture } = suite;

  for (const atOnce of [true, false]) {
    it(`${atOnce ? 'at once' : 'again before the new cookie came'} succeeds both times, with the cart`, async () => {
      const gate = new Gate(2); // both have loaded the session before either logs in
      const { visitor } = await openSite(suite, {
        '/cart': (ctx, current) => {
          ctx.session.cart = ['book'];
          current.flash('notice', 'added');
        },
        '/login': async (ctx, current) => {
          ctx.session.cart;
          if (atOnce) await gate.pass();
          await current.logIn('ada');
        },
        '/get': read,
        '/take': (_, current) => current.takeFlash('notice'),
      });
      const ada = visitor();
      await ada.get('/cart');
      const second = visitor(ada.cookie);
      const first = ada.get('/login');
      if (!atOnce) await first;
      const replies = [first, second.get('/login')];
      if (atOnce) await gate.reached;
      gate.open();
      for (const { status, setCookie } of await Promise.all(replies)) {
        assert.deepEqual([status, setCookie !== undefined], [200, true]);
      }
      const messages: string[] = [];
      for (const browser of [ada, second]) {
        assert.deepEqual(JSON.parse((await browser.get('/get')).text), { cart: ['book'], owner: 'ada' });
        messages.push(...JSON.parse((await browser.get('/take')).text));
      }
      if (fixture.capabilities.merges) assert.deepEqual(messages, ['added'], 'a message comes once');
    });
  }
}
