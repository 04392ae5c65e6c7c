import { expect } from 'chai';
import Keygrip from 'keygrip';
import { stub } from 'sinon';
import { asStore, inRequest, recordOf, stubStore, tidy } from './helpers.js';

/* Tokens with the record's revision, as a near cache has them written: they are read with it and without it. */

const ID = 'A'.repeat(32);
const KEYS = new Keygrip(['k'], 'sha256');
const SIGNATURE = KEYS.sign(`wsession=${ID}`);

describe('a revision in a token', () => {
  afterEach(tidy);

  /** The revision with which the store is asked for the session; `refused`: it isn't. */
  async function revisionIn(token: string, keys?: unknown): Promise<number | undefined | 'refused'> {
    const store = stubStore();
    const options = { store: asStore(store), cookie: `wsession=${token}`, ...(keys !== undefined && { keys }) };
    await inRequest((ctx) => ctx.session.n, options as never);
    return store.load.callCount === 0 ? 'refused' : store.load.firstCall.args[1].atLeast;
  }

  for (const [revision, end] of [
    [undefined, ''],
    [1, '.1'],
    [35, '.z'],
    [36 ** 10 - 1, '.zzzzzzzzzz'],
  ] as const) {
    it(`is ${revision} in a token that ends with "${end}"`, async () => {
      expect(await revisionIn(ID + end)).to.equal(revision);
      expect(await revisionIn(`${ID}${end}.${SIGNATURE}`, KEYS)).to.equal(revision);
    });
  }

  for (const end of ['.', '.0', '.01', '.A', '.-1', '.1.', '.1.1', '.zzzzzzzzzzz', '1', ' .1'])
    it(`is in none of another form: "${end}"`, async () => {
      expect(await revisionIn(ID + end)).to.equal('refused');
      expect(await revisionIn(`${ID}${end}.${SIGNATURE}`, KEYS)).to.equal('refused');
    });

  it('takes the place of no signature', async () => {
    for (const token of [`${ID}.1`, `${ID}.1.`, `${ID}.1.${SIGNATURE.slice(1)}`, `${ID}.1.1.${SIGNATURE}`])
      expect(await revisionIn(token, KEYS)).to.equal('refused');
    expect(await revisionIn(`${ID}.1.${SIGNATURE}`)).to.equal('refused');
  });

  it('may look like the beginning of a custom signature', async () => {
    const keys = { sign: () => 'v1.s', verify: (_: string, signature: string) => signature === 'v1.s' };
    expect(await revisionIn(`${ID}.v1.s`, keys)).to.equal(undefined);
    expect(await revisionIn(`${ID}.2.v1.s`, keys)).to.equal(2);
  });

  for (const wantsRevisions of [true, undefined])
    it(`is written only for a store that wants it: ${wantsRevisions}`, async () => {
      const store = Object.assign(stubStore(), wantsRevisions && { wantsRevisions });
      store.load.callsFake(() => ({ ...recordOf({ n: '1' }), revision: 7 }));
      store.update = stub<never[], unknown>().returns({ outcome: 'updated', revision: 40 }) as never; // others wrote, too
      const { setCookie } = await inRequest((ctx) => void (ctx.session.n = 2), {
        store: asStore(store),
        cookie: `wsession=${ID}.7`,
      });
      expect(setCookie[0]).to.match(wantsRevisions ? /^wsession=A{32}\.14;/ : /^wsession=A{32};/);
    });
});
