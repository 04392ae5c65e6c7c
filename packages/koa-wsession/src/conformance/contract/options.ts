import assert from 'node:assert/strict';
import type { Suite } from '../suite.js';
import { create, isThere, recordOf } from './records.js';

export function describeOptions({ it, fixture, open, openTwo }: Suite): void {
  it('are on the store, with what it can do', async () => {
    const store = await open({ expire: 77, secure: true, domain: 'example.com' });
    assert.deepEqual(store.capabilities, fixture.capabilities);
    assert.deepEqual([store.expire, store.secure, store.domain], [77, true, 'example.com']);
  });

  it('that are invalid or unknown throw an OptionError', async () => {
    for (const options of [{ expire: 0 }, { expire: '1h' }, { secure: 'yes' }, { domain: 'a;b' }, { expires: 3600 }]) {
      await assert.rejects(
        async () => void (await open(options as object)),
        (error: { code?: string }) => error instanceof TypeError && error.code === 'WSESSION_OPTION',
        JSON.stringify(options),
      );
    }
  });

  it('close() may be called twice, and leaves other stores open', async () => {
    const [one, other] = await openTwo();
    if (fixture.isolated) return;
    await one.close?.();
    await one.close?.();
    assert.ok(await isThere(other, await create(other, recordOf({ a: '1' }))));
  });
}
