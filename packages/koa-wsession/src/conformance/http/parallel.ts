import assert from 'node:assert/strict';
import type { Suite } from '../suite.js';
import { count, Gate, openSite, type Reply, type Visitor } from './site.js';

function all(browser: Visitor, paths: string[]): Promise<Reply[]> {
  return Promise.all(paths.map((path) => browser.get(path)));
}

export function describeParallel(suite: Suite): void {
  const { it, fixture } = suite;
  const { merges } = fixture.capabilities;

  it(merges ? 'on 100 different keys are all stored' : "aren't merged: the last cookie counts", async () => {
    const gate = new Gate(100); // each has loaded before any stores
    const { visitor } = await openSite(suite, {
      '/': count,
      '/set': async (ctx) => {
        ctx.session[String(ctx.query.key)] = true;
        await gate.pass();
      },
      '/get': (ctx) => Object.keys(ctx.session).length,
    });
    const ada = visitor();
    await ada.get('/');
    const replies = all(
      ada,
      Array.from({ length: 100 }, (_, i) => `/set?key=k${i}`),
    );
    await gate.reached;
    gate.open();
    assert.ok((await replies).every(({ status }) => status === 200));
    assert.equal((await ada.get('/get')).text, merges ? '101' : '2');
  });

  describeUpdates(suite);
}

function describeUpdates(suite: Suite): void {
  const { it, fixture } = suite;
  const { merges } = fixture.capabilities;

  it(`with 100 update() of one key${merges ? '' : ', one after the other,'} lose nothing`, async () => {
    const gate = new Gate(100); // each has loaded before any stores
    if (!merges) gate.open();
    const { visitor } = await openSite(suite, {
      '/': count,
      '/update': async (ctx, current) => {
        ctx.session.counter;
        await gate.pass();
        return current.update('n', (n = 0) => n + 1);
      },
      '/get': (ctx) => ctx.session.n,
    });
    const ada = visitor();
    await ada.get('/');
    const paths = Array.from({ length: 100 }, () => '/update');
    const texts: string[] = [];
    if (merges) {
      const replies = all(ada, paths);
      await gate.reached;
      gate.open();
      texts.push(...(await replies).map(({ text }) => text));
    } else for (const path of paths) texts.push((await ada.get(path)).text);
    const results = texts.map(Number).sort((a, b) => a - b);
    assert.deepEqual(
      results,
      Array.from(paths, (_, i) => i + 1),
    );
    assert.equal((await ada.get('/get')).text, '100');
  });
}
