import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { call, create, makeStore, OTHER_SECRET, recordOf } from './support.js';

/** How many random tokens each property tries. */
export const RUNS = process.env.SOAK === '1' ? 10_000 : 1_000;

export const hostile: string[] = JSON.parse(
  readFileSync(new URL('../test/fixtures/hostile.json', import.meta.url), 'utf8'),
);
export const victim = makeStore();
const lives = 365 * 24 * 3_600_000;
const record = (text: string) => recordOf({ user: JSON.stringify(text) }, lives);
/** Valid under the name `wsession` and the tests' secret. */
export const ours = ['a', 'ab', 'abc', 'd'.repeat(300), 'e'.repeat(2000)].map((text) => create(victim, record(text)));
/** Valid under another name or another secret. */
export const foreign = [
  create(victim, record('a'), { ...call, name: 'other' }),
  create(makeStore(OTHER_SECRET), record('a')),
  create(makeStore(OTHER_SECRET), record('d'.repeat(300))),
];
export const valid = new Set(ours);

const one = fc.constantFrom(...ours);
const any = fc.constantFrom(...ours, ...foreign);
const at = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
const index = (length: number, ratio: number): number => Math.floor(length * ratio);
export const bytesOf = (token: string): Buffer => Buffer.from(token, 'base64url');

export const mutations: Record<string, fc.Arbitrary<string>> = {
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
    .map(([token, from, to]) => token.slice(index(token.length, from * from), Math.ceil(token.length * Math.sqrt(to)))),
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
    return Buffer.concat([front.subarray(0, border), back.subarray(border, to), front.subarray(to)]).toString(
      'base64url',
    );
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
  'letter case': fc.tuple(one, fc.boolean()).map(([token, up]) => (up ? token.toUpperCase() : token.toLowerCase())),
  anything: fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.base64String({ maxLength: 6000 }),
    fc.uint8Array({ maxLength: 4000 }).map((bytes) => Buffer.from([1, ...bytes]).toString('base64url')),
  ),
  hostile: fc.constantFrom(...hostile),
};
export const mutant = fc.oneof(...Object.values(mutations)).filter((token) => !valid.has(token));
