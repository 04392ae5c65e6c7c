import assert from 'node:assert/strict';
import type { Suite } from '../suite.js';
import { count, openSite, read, type Visitor } from './site.js';

export function describeData(suite: Suite): void {
  const { it, fixture } = suite;

  it('counts 1, 2, 3, for each visitor separately', async () => {
    const { visitor } = await openSite(suite, { '/': count });
    const [ada, bob] = [visitor(), visitor()];
    const texts = [];
    for (const browser of [ada, ada, bob, ada]) texts.push((await browser.get('/')).text);
    assert.deepEqual(texts, ['1', '2', '1', '3']);
  });

  it('returns values exactly, in content and type', async () => {
    const values = valuesOfAllTypes();
    let seen: Record<string, unknown> = {};
    const { visitor } = await openSite(suite, {
      '/set': (ctx) => void Object.assign(ctx.session, values),
      '/get': (ctx) => void (seen = { ...ctx.session }),
    });
    const ada = visitor();
    assert.equal((await ada.get('/set')).status, 200);
    await ada.get('/get');
    assert.deepEqual(Object.keys(seen).sort(), Object.keys(values).sort());
    for (const [key, value] of Object.entries(values)) assert.deepEqual(seen[key], value, key);
  });

  it('costs no call without a cookie, one load to read, one update to write', async () => {
    const { visitor, calls } = await openSite(suite, { '/': count, '/read': read });
    const isLazy = fixture.capabilities.seals && !fixture.capabilities.revokes;
    const ada = visitor();
    const callsOf = async (browser: Visitor, path: string) => {
      calls.length = 0;
      const { setCookie } = await browser.get(path);
      return [...calls, ...(setCookie ? ['Set-Cookie'] : [])];
    };
    assert.deepEqual(await callsOf(visitor(), '/untouched'), []);
    assert.deepEqual(await callsOf(visitor(), '/read'), []);
    assert.deepEqual(await callsOf(ada, '/'), ['create', 'Set-Cookie']);
    assert.deepEqual(await callsOf(ada, '/'), ['load', 'update', 'Set-Cookie']);
    assert.deepEqual(await callsOf(ada, '/read'), ['load']);
    assert.deepEqual(await callsOf(ada, '/untouched'), isLazy ? [] : ['load']);
  });
}

function valuesOfAllTypes(): Record<string, unknown> {
  const cyclic: Record<string, unknown> = { name: 'loop' };
  cyclic.self = cyclic;
  return {
    string: 'é😀\u2028\ud800',
    numbers: [0, -0, 1.5, 1e300, Number.NaN, Number.POSITIVE_INFINITY],
    nothing: [null, undefined, true, false, '', 0],
    undefined: undefined,
    bigint: 2n ** 70n,
    date: new Date(1e12),
    map: new Map<unknown, unknown>([
      ['a', { b: [1] }],
      [2, new Set([1, 'x'])],
    ]),
    bytes: new Uint8Array([0, 255, 7]),
    // biome-ignore lint/suspicious/noSparseArray: the hole is the point.
    holes: [1, , 3],
    cyclic,
    '': 'the empty key',
    '\0': 'a NUL',
    'then.a:b': 'separators',
  };
}
