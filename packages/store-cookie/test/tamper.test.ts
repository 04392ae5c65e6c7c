import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import fc from 'fast-check';
import {
  call,
  changesOf,
  count,
  create,
  loaded,
  makeStore,
  makeWorld,
  OTHER_SECRET,
  read,
  recordOf,
  type World,
} from './support.js';

const RUNS = process.env.SOAK === '1' ? 10_000 : 1_000;

describe('a token that was tampered with', () => {
  const hostile: string[] = JSON.parse(
    readFileSync(new URL('../test/fixtures/hostile.json', import.meta.url), 'utf8'),
  );
  const victim = makeStore();
  const lives = 365 * 24 * 3_600_000;
  const record = (text: string) => recordOf({ user: JSON.stringify(text) }, lives);
  /** Under this name and secret. */
  const ours = ['a', 'ab', 'abc', 'd'.repeat(300), 'e'.repeat(2000)].map((text) =>
    create(victim, record(text)),
  );
  /** Valid, but elsewhere. */
  const foreign = [
    create(victim, record('a'), { ...call, name: 'other' }),
    create(makeStore(OTHER_SECRET), record('a')),
    create(makeStore(OTHER_SECRET), record('d'.repeat(300))),
  ];
  const valid = new Set(ours);

  const one = fc.constantFrom(...ours);
  const any = fc.constantFrom(...ours, ...foreign);
  const at = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
  const index = (length: number, ratio: number): number => Math.floor(length * ratio);
  const bytesOf = (token: string): Buffer => Buffer.from(token, 'base64url');

  const mutations: Record<string, fc.Arbitrary<string>> = {
    'a bit flipped': fc.tuple(one, at).map(([token, ratio]) => {
      const bytes = bytesOf(token);
      const bit = index(bytes.length * 8, ratio);
      bytes[bit >> 3]! ^= 1 << (bit & 7);
      return bytes.toString('base64url');
    }),
    'several bytes changed': fc
      .tuple(one, fc.array(fc.tuple(at, fc.integer({ min: 1, max: 255 })), { minLength: 1, maxLength: 8 }))
      .map(([token, changes]) => {
        const bytes = bytesOf(token);
        for (const [ratio, mask] of changes) bytes[index(bytes.length, ratio)]! ^= mask;
        return bytes.toString('base64url');
      }),
    'a character changed': fc.tuple(one, at, fc.integer({ min: 1, max: 255 })).map(([token, ratio, mask]) => {
      const i = index(token.length, ratio);
      return token.slice(0, i) + String.fromCharCode(token.charCodeAt(i) ^ mask) + token.slice(i + 1);
    }),
    cut: fc
      .tuple(one, at, at)
      .map(([token, from, to]) =>
        token.slice(index(token.length, from * from), Math.ceil(token.length * Math.sqrt(to))),
      ),
    'bytes cut': fc.tuple(one, at).map(([token, to]) => {
      const bytes = bytesOf(token);
      return bytes.toString('base64url', 0, index(bytes.length, Math.sqrt(to)));
    }),
    extended: fc
      .tuple(one, at, fc.oneof(fc.string({ minLength: 1 }), fc.base64String({ minLength: 1 })))
      .map(([token, ratio, more]) => {
        const i = index(token.length + 1, Math.sqrt(ratio));
        return token.slice(0, i) + more + token.slice(i);
      }),
    spliced: fc
      .tuple(any, any, at, at)
      .map(([a, b, from, to]) => a.slice(0, index(a.length, from)) + b.slice(index(b.length, to))),
    'bytes spliced': fc.tuple(any, any, at).map(([a, b, ratio]) => {
      const [front, back] = [bytesOf(a), bytesOf(b)];
      const i = index(Math.min(front.length, back.length), ratio);
      return Buffer.concat([front.subarray(0, i), back.subarray(i)]).toString('base64url');
    }),
    'halves exchanged': fc.tuple(any, any, fc.constantFrom(1, 13, 25)).map(([a, b, border]) => {
      const [front, back] = [bytesOf(a), bytesOf(b)];
      const to = border === 25 ? back.length - 16 : border + 12; // also the ciphertext alone, from another
      return Buffer.concat([
        front.subarray(0, border),
        back.subarray(border, to),
        front.subarray(to),
      ]).toString('base64url');
    }),
    foreign: fc.constantFrom(...foreign),
    'percent-encoded': fc
      .tuple(one, at)
      .map(([token, ratio]) =>
        token.replace(token[index(token.length, ratio)]!, (c) => `%${c.charCodeAt(0).toString(16)}`),
      ),
    'last character': fc
      .tuple(one, fc.constantFrom(...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'))
      .map(([token, last]) => token.slice(0, -1) + last),
    base64: one.map((token) => bytesOf(token).toString('base64')),
    'padding and blanks': fc
      .tuple(one, at, fc.constantFrom('=', '==', ' ', '\t', '\n', '\r\n', '"', '.', ',', '\0', '\u00a0', '%'))
      .map(([token, ratio, what]) => {
        const i = ratio < 0.2 ? 0 : ratio > 0.8 ? token.length : index(token.length, ratio);
        return token.slice(0, i) + what + token.slice(i);
      }),
    'letter case': fc
      .tuple(one, fc.boolean())
      .map(([token, up]) => (up ? token.toUpperCase() : token.toLowerCase())),
    anything: fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.base64String({ maxLength: 6000 }),
      fc.uint8Array({ maxLength: 4000 }).map((bytes) => Buffer.from([1, ...bytes]).toString('base64url')),
    ),
    hostile: fc.constantFrom(...hostile),
  };
  const mutant = fc.oneof(...Object.values(mutations)).filter((token) => !valid.has(token));

  function check(token: string): void {
    expect(loaded(victim, token, call)).to.equal(undefined);
    expect(victim.update(token, changesOf({ b: '2' }), call)).to.deep.equal({ outcome: 'gone' });
    expect(victim.destroy(token, call)).to.equal(undefined);
  }

  for (const [name, tokens] of Object.entries(mutations)) {
    it(`does not open, and is no error: ${name}`, () => {
      const changed = tokens.filter((token) => !valid.has(token));
      fc.assert(fc.property(changed, check), { numRuns: Math.ceil(RUNS / Object.keys(mutations).length) });
    });
  }

  it('does not open, and is no error: every value of the corpus', () => {
    for (const value of hostile) check(value);
  });

  it('is looked at everywhere: each single bit counts', () => {
    const token = ours[0]!;
    const bytes = bytesOf(token);
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      bytes[bit >> 3]! ^= 1 << (bit & 7);
      check(bytes.toString('base64url'));
      bytes[bit >> 3]! ^= 1 << (bit & 7);
    }
    for (let length = 0; length < token.length; length++) check(token.slice(0, length));
  });

  it('leaves the valid ones valid', () => {
    for (const token of ours) {
      expect(loaded(victim, token, call)).not.to.equal(undefined);
      expect(loaded(makeStore(), token, call)).not.to.equal(undefined);
    }
  });

  describe('over HTTP', () => {
    let world: World;
    before(async () => {
      world = await makeWorld(makeStore(), { '/': count, '/read': read });
    });
    after(() => world.close());

    it('is an anonymous visitor, and never a server error', async () => {
      // What a header can carry, and what stays one cookie there.
      const sendable = mutant.filter(
        (token) => /^[\t\x20-\x3a\x3c-\x7e\x80-\xff]*$/.test(token) && token === token.trim(),
      );
      const property = fc.asyncProperty(sendable, async (token) => {
        const mallory = world.visitor(token);
        const { status, body, setCookie } = await mallory.get('/read');
        expect([status, body, setCookie]).to.deep.equal([200, '{}', []]);
        const written = await mallory.get('/');
        expect([written.status, written.body]).to.deep.equal([200, '1']);
        expect(mallory.jar.get('wsession')).not.to.equal(token);
      });
      await fc.assert(property, { numRuns: RUNS / 10 });
      expect(world.errors).to.deep.equal([]);
    });

    it('beside the right one does no harm', async () => {
      const ada = world.visitor();
      await ada.get('/');
      const right = ada.cookie;
      for (const value of ['', 'x', right.slice(9, -1), foreign[1]]) {
        const cookie = `wsession=${value}; ${right}; other=1`;
        expect((await ada.get('/', { headers: { cookie } })).body).to.equal('2');
      }
    });
  });
});
