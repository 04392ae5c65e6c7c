import assert from 'node:assert/strict';
import { addressOf } from '../../kernel/token.js';
import type { Suite } from '../suite.js';
import { count, NAME, openSite, read } from './site.js';

export function describeFaults(suite: Suite): void {
  const { capabilities, corrupt, fail, restore } = suite.fixture;
  describeForged(suite);
  if (corrupt && !capabilities.seals) describeDamaged(suite);
  if (fail && restore) describeOutage(suite);
}

function describeForged(suite: Suite): void {
  const { it } = suite;

  it('a forged cookie makes an anonymous visitor, whose session gets another token', async () => {
    const { visitor } = await openSite(suite, { '/': count, '/get': read });
    const ada = visitor();
    await ada.get('/');
    const good = String(ada.cookie).slice(NAME.length + 1);
    for (const token of ['', 'x', good.slice(0, -1), `${good}A`, 'A'.repeat(32), 'A'.repeat(4000), '%00']) {
      const mallory = visitor(`${NAME}=${token}`);
      const { status, text, setCookie } = await mallory.get('/get');
      assert.deepEqual([status, text, setCookie], [200, '{}', undefined], token.slice(0, 40));
      assert.equal((await mallory.get('/')).text, '1');
      assert.notEqual(mallory.cookie, `${NAME}=${token}`);
    }
    assert.equal((await ada.get('/')).text, '2');
  });
}

function describeDamaged(suite: Suite): void {
  const { it, fixture } = suite;

  it('a damaged record makes an anonymous visitor', async () => {
    const { visitor } = await openSite(suite, { '/': count });
    const ada = visitor();
    await ada.get('/');
    await fixture.corrupt?.(addressOf(NAME, String(ada.cookie).slice(NAME.length + 1)));
    const { status, text, setCookie } = await ada.get('/');
    assert.deepEqual([status, text, setCookie !== undefined], [200, '1', true]);
  });
}

function describeOutage(suite: Suite): void {
  const { it, fixture } = suite;

  it('an outage makes a 503 of what uses the session, within the timeout, until it is over', async () => {
    const { visitor, errors } = await openSite(suite, { '/': count, '/get': read }, { timeout: 300 });
    const ada = visitor();
    await ada.get('/');
    await fixture.fail?.();
    try {
      for (const browser of [visitor(), ada]) assert.equal((await browser.get('/untouched')).status, 200);
      for (const [browser, path] of [
        [ada, '/'],
        [ada, '/get'],
        [visitor(), '/'],
      ] as const) {
        const start = performance.now();
        const { status, setCookie } = await browser.get(path);
        assert.deepEqual([status, setCookie], [503, undefined], path);
        assert.ok(performance.now() - start < 10_000, 'within the timeout');
      }
      assert.ok(errors.every(({ code }) => code === 'WSESSION_UNAVAILABLE'));
    } finally {
      await fixture.restore?.();
    }
    assert.equal((await ada.get('/')).text, '2');
  });
}
