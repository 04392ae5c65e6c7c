import assert from 'node:assert/strict';
import type { Suite } from '../suite.js';
import { count, Gate, type Handler, logIn, openSite } from './site.js';

export function describeFlash(suite: Suite): void {
  const { it, fixture } = suite;
  const add: Handler = ({ query }, current) => {
    for (const text of String(query.texts).split(',')) current.flash('notice', { text });
  };

  it('come back in order, once, and are no keys of the session', async () => {
    const { visitor } = await openSite(suite, {
      '/add': add,
      '/take': async (_, current) => (await current.takeFlash('notice')).map(({ text }) => text),
      '/login': logIn,
      '/get': (ctx) => Object.keys(ctx.session),
    });
    const ada = visitor();
    const texts = [];
    for (const path of ['/take', '/add?texts=a,b', '/add?texts=c', '/get', '/login', '/take', '/take'])
      texts.push((await ada.get(path)).text);
    assert.deepEqual(texts, ['[]', 'ok', 'ok', '[]', 'ok', '["a","b","c"]', '[]']);
  });

  if (!fixture.capabilities.merges) return;

  it('added and taken by parallel requests come back once each', async () => {
    const gate = new Gate(20);
    const { visitor } = await openSite(suite, {
      '/': count,
      '/add': add,
      '/take': async (ctx, current) => {
        ctx.session.counter; // loaded by now
        await gate.pass();
        return (await current.takeFlash('notice')).map(({ text }) => text);
      },
    });
    const ada = visitor();
    await ada.get('/');
    const texts = Array.from({ length: 10 }, (_, i) => `m${i}`);
    await Promise.all(texts.map((text) => ada.get(`/add?texts=${text}`)));
    const taking = Array.from({ length: 20 }, () => ada.get('/take'));
    await gate.reached;
    gate.open();
    const taken = (await Promise.all(taking)).flatMap(({ text }) => JSON.parse(text));
    assert.deepEqual(taken.sort(), texts);
  });
}
