import { createSecretKey, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { packRecord } from 'koa-wsession/store';
import { Sealer } from '../dist/seal.js';
import {
  call,
  changesOf,
  create,
  loaded,
  makeStore,
  masterKeyOf,
  newAddress,
  now,
  OTHER_SECRET,
  openByHand,
  recordOf,
  SECRET,
  sealByHand,
} from './support.js';

describe('a token', () => {
  const known = JSON.parse(readFileSync(new URL('../test/fixtures/known.json', import.meta.url), 'utf8'));
  const masterKey = createSecretKey(masterKeyOf(SECRET));
  const sealer = new Sealer([masterKey]);

  it('that was sealed by an earlier build still opens', () => {
    const store = makeStore(known.secret);
    const record = loaded(store, known.token, { ...call, name: known.name });
    expect(record).to.deep.equal({
      createdAt: known.createdAt,
      updatedAt: known.updatedAt,
      expiresAt: known.expiresAt,
      revision: known.revision,
      entries: new Map(Object.entries(known.entries)),
    });
  });

  it('has a key that scrypt makes of the secret: N 32768, r 8, p 3', () => {
    expect(masterKeyOf(known.secret).toString('hex')).to.equal(known.masterKey);
    const text = packRecord(newAddress(), recordOf({ a: '1' }));
    const byHand = sealByHand(text, { masterKey: Buffer.from(known.masterKey, 'hex') });
    expect(loaded(makeStore(known.secret), byHand, call)?.entries.get('a')).to.equal('1');
  });

  it('is version, 24 random bytes, ciphertext and tag, as base64url', () => {
    const record = recordOf({ a: '"ä"' });
    const address = newAddress();
    const { token } = makeStore().create(address, record, call) as { token: string };
    expect(token).to.match(/^[\w-]+$/);
    const text = packRecord(address, record);
    expect(openByHand(token)).to.equal(text);
    const bytes = Buffer.from(token, 'base64url');
    expect(bytes[0]).to.equal(1);
    expect(bytes.length).to.equal(1 + 24 + Buffer.byteLength(text) + 16);
  });

  it('opens whatever text it holds', () => {
    for (const text of ['', '\0', 'ä😀', 'x'.repeat(3000)]) {
      expect(sealer.open('wsession', sealer.seal('wsession', text))).to.equal(text);
      expect(sealer.open('wsession', sealByHand(text))).to.equal(text);
    }
  });

  it('is different each time, with a nonce of its own', () => {
    const [keys, nonces, rest] = [new Set<string>(), new Set<string>(), new Set<string>()];
    for (let i = 0; i < 500; i++) {
      const bytes = Buffer.from(sealer.seal('wsession', 'the same'), 'base64url');
      keys.add(bytes.toString('hex', 1, 13));
      nonces.add(bytes.toString('hex', 13, 25));
      rest.add(bytes.toString('hex', 25));
    }
    expect([keys.size, nonces.size, rest.size]).to.deep.equal([1, 500, 500]);
  });

  it('has a message key of its process: two sealers of one secret share none', () => {
    const halves = Array.from({ length: 20 }, () => {
      const token = new Sealer([masterKey]).seal('wsession', 'the same');
      return Buffer.from(token, 'base64url').toString('hex', 1, 13);
    });
    expect(new Set(halves).size).to.equal(20);
  });

  it('has another message key after so many tokens', () => {
    const one = new Sealer([masterKey], 3);
    const halves = Array.from({ length: 9 }, () => one.seal('wsession', 'text').slice(1, 17));
    expect(new Set(halves.slice(0, 3)).size).to.equal(1);
    expect(new Set(halves).size).to.equal(3);
  });

  it('of another version does not open, even if all else is right', () => {
    for (const version of [0, 2, 49, 129, 255])
      expect(sealer.open('wsession', sealByHand('text', { version })), String(version)).to.equal(undefined);
  });

  it('opens only under the name for which it was sealed', () => {
    const token = sealer.seal('name', 'text');
    expect(sealer.open('name', token)).to.equal('text');
    for (const name of ['', 'nam', 'name2', 'Name', '\u0001name']) expect(sealer.open(name, token)).to.equal(undefined);
    const store = makeStore();
    const named = { ...call, name: 'one' };
    const sealed = create(store, recordOf(), named);
    expect(loaded(store, sealed, call)).to.equal(undefined);
    expect(now(store.update(sealed, changesOf({}), call)).outcome).to.equal('gone');
    expect(store.destroy(sealed, call)).to.deep.equal({ outcome: 'none' });
    expect(loaded(store, sealed, named)).not.to.equal(undefined);
  });

  it('opens only with its secret', () => {
    expect(
      new Sealer([createSecretKey(masterKeyOf(OTHER_SECRET))]).open('wsession', sealer.seal('wsession', 'text')),
    ).to.equal(undefined);
  });

  it('with a tag that was cut does not open', () => {
    for (const tagLength of [4, 8, 12, 13, 14, 15])
      expect(sealer.open('wsession', sealByHand('some text', { tagLength }))).to.equal(undefined);
    const bytes = Buffer.from(sealByHand('', {}), 'base64url');
    for (let length = 0; length < bytes.length; length++)
      expect(sealer.open('wsession', bytes.toString('base64url', 0, length))).to.equal(undefined);
  });

  it('opens in one spelling only', () => {
    // 3n + 1 and 3n + 2 bytes leave 4 and 2 bits of the last character unused.
    for (const text of ['x', 'xx', 'xxx']) {
      const token = sealer.seal('wsession', text);
      const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
      const opening = [...alphabet].filter((last) => sealer.open('wsession', token.slice(0, -1) + last) === text);
      expect(opening).to.deep.equal([token.at(-1)]);
      for (const other of [
        `${token}=`,
        `${token}==`,
        `${token} `,
        `${token}\n`,
        ` ${token}`,
        `${token}.x`,
        `${token}%`,
      ])
        expect(sealer.open('wsession', other), JSON.stringify(other)).to.equal(undefined);
    }
    for (;;) {
      const token = sealer.seal('wsession', randomBytes(30).toString('hex'));
      const standard = token.replaceAll('-', '+').replaceAll('_', '/');
      if (standard === token) continue;
      expect(sealer.open('wsession', token)).not.to.equal(undefined);
      expect(sealer.open('wsession', standard)).to.equal(undefined);
      break;
    }
  });

  it('of more than 8192 characters does not open', () => {
    const longest = sealByHand('x'.repeat(6144 - 41));
    expect(longest.length).to.equal(8192);
    expect(sealer.open('wsession', longest)).to.have.length(6103);
    const longer = sealByHand('x'.repeat(6144 - 40));
    expect(sealer.open('wsession', longer)).to.equal(undefined);
    const store = makeStore();
    const large = create(store, recordOf({ a: 'x'.repeat(7000) }));
    expect(large.length).to.be.above(8192);
    expect(loaded(store, large, call)).to.equal(undefined);
  });

  it('that opens but holds no record is absent', () => {
    const store = makeStore();
    const record = packRecord(newAddress(), recordOf({ a: '1' }));
    expect(loaded(store, sealByHand(record), call)?.entries.get('a')).to.equal('1');
    for (const text of [
      '',
      'x',
      '{}',
      '3,',
      '3,\n',
      record.slice(1),
      record.slice(0, -1),
      `${record}x`,
      `2${record.slice(1)}`,
      `4${record.slice(1)}`,
    ])
      expect(loaded(store, sealByHand(text), call), JSON.stringify(text)).to.equal(undefined);
  });
});
