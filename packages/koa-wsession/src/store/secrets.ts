import { isUint8Array } from 'node:util/types';
import { OptionError } from '../errors.js';
import { checkOption } from './options.js';

/** What sessions are encrypted with. A string stands for its UTF-8 bytes. */
export type Secret = string | Uint8Array;

/**
 * The bytes of one secret, or of each in a list.
 * @throws OptionError, which never shows a secret
 */
export function checkSecrets(owner: string, secrets: unknown, minLength: number): Uint8Array[] {
  const list: unknown[] = Array.isArray(secrets) ? secrets : [secrets];
  checkOption(`secrets of ${owner}`, list, () => list.length > 0, 'at least one secret');
  return list.map((secret, index) => {
    const bytes = typeof secret === 'string' ? Buffer.from(secret, 'utf8') : secret;
    if (isUint8Array(bytes) && bytes.length >= minLength) return bytes;
    const expected = `a string or a Uint8Array of ${minLength} or more bytes, such as one of \`openssl rand -base64 32\``;
    // As an object: the error shows nothing of one but its class.
    throw new OptionError(`secret ${index + 1} of ${owner}`, secret && Object(secret), expected);
  });
}
