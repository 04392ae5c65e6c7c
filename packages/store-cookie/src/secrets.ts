import { createSecretKey, type KeyObject, scryptSync } from 'node:crypto';
import { checkSecrets } from 'koa-wsession/store';

/** Bytes. A key has no more; shorter secrets are mostly words, which can be guessed. */
const GOOD_LENGTH = 32;

let warned = false;

/**
 * The key of each secret, in the same order.
 * @throws OptionError, which never shows a secret
 */
export function deriveMasterKeys(secrets: unknown): KeyObject[] {
  const checked = checkSecrets('CookieStore', secrets, 1);
  if (!warned && checked.some((secret) => secret.length < GOOD_LENGTH)) {
    warned = true;
    process.emitWarning(
      `A secret of CookieStore is shorter than ${GOOD_LENGTH} bytes. If it is guessed, every session can be read and ` +
        'forged: make a random one with `openssl rand -base64 32`.',
      { type: 'SecurityWarning', code: 'WSESSION_SHORT_SECRET' },
    );
  }
  return checked.map(deriveMasterKey);
}

/*
 * An attacker with one cookie can try secrets on it offline. With scrypt (RFC 7914), each try takes 0.2 s and 32 MiB
 * instead of 10 µs. The parameters are the least that OWASP recommends (Password Storage Cheat Sheet); of its equal
 * choices, this one fits into the memory of a small container.
 *
 * The salt can't be random: there is no place to keep it, and every process has to derive the same key. It only
 * separates these keys from others that are derived from the same secret, and from those of a later version.
 */
const SALT = '@koa-wsession/store-cookie 1';
const SCRYPT = { N: 2 ** 15, r: 8, p: 3, maxmem: 64 * 2 ** 20 } as const;

/** Derived keys by secret: several stores with the same secret (in tests, for instance) derive it once. */
const masterKeys: Map<string, KeyObject> = new Map();

function deriveMasterKey(secret: Uint8Array): KeyObject {
  const id = Buffer.from(secret).toString('base64');
  const key = masterKeys.get(id) ?? createSecretKey(scryptSync(secret, SALT, 32, SCRYPT));
  masterKeys.set(id, key);
  return key;
}
