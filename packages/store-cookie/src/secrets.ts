import { createSecretKey, type KeyObject, scryptSync } from 'node:crypto';
import { checkOption, OptionError } from 'koa-wsession';

/** What cookies are sealed with. A string counts as its UTF-8 bytes. */
export type Secret = string | Uint8Array;

/** The key of each secret, in the same order. Throws an OptionError, which never shows a secret. */
export function deriveMasterKeys(secrets: unknown): KeyObject[] {
  const list: unknown[] = Array.isArray(secrets) ? secrets : [secrets];
  checkOption('The list of secrets of CookieStore', list, () => list.length > 0, 'at least one secret');
  const checked = list.map((secret, index) =>
    toBytes(list.length > 1 ? `Secret ${index + 1} of CookieStore` : 'The secret of CookieStore', secret),
  );
  if (checked.some((secret) => secret.length < GOOD_LENGTH)) warn();
  return checked.map(deriveMasterKey);
}

function toBytes(option: string, secret: unknown): Uint8Array {
  if (typeof secret === 'string' && secret !== '') return Buffer.from(secret, 'utf8');
  if (secret instanceof Uint8Array && secret.length > 0) return secret;
  // As an object, because an OptionError shows a number as it is.
  throw new OptionError(option, secret && Object(secret), 'a string or a Uint8Array that is not empty');
}

/** Bytes. The keys have no more, and nobody guesses so many random ones; what is shorter is mostly words. */
const GOOD_LENGTH = 32;

let warned = false;

function warn(): void {
  if (warned) return;
  warned = true;
  process.emitWarning(
    `A secret of CookieStore is shorter than ${GOOD_LENGTH} bytes. Whoever guesses it can read and make every session: ` +
      'make a random one with `openssl rand -base64 32`.',
    { type: 'SecurityWarning', code: 'WSESSION_SHORT_SECRET' },
  );
}

/*
 * Whoever has one cookie can try secrets on it at home. With scrypt (RFC 7914) each try takes 0.2 s and 32 MiB, in
 * place of 10 µs. The parameters are the least that OWASP recommends (Password Storage Cheat Sheet), of its equal
 * choices the one that an app in a small container has the memory for.
 *
 * The salt can't be a random one: there is nowhere to keep it, and every process has to arrive at the same key. It
 * only keeps these keys apart from what else is derived from the same secret, and from those of a later version.
 */
const SALT = '@koa-wsession/store-cookie 1';
const SCRYPT = { N: 2 ** 15, r: 8, p: 3, maxmem: 64 * 2 ** 20 } as const;

/** Slow on purpose, so once for each secret, however many stores (in tests, for instance) a process makes of it. */
const masterKeys: Map<string, KeyObject> = new Map();

function deriveMasterKey(secret: Uint8Array): KeyObject {
  const id = Buffer.from(secret).toString('base64');
  const key = masterKeys.get(id) ?? createSecretKey(scryptSync(secret, SALT, 32, SCRYPT));
  masterKeys.set(id, key);
  return key;
}
