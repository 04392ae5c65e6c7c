import { createCipheriv, createDecipheriv, randomFillSync } from 'node:crypto';

/*
 * AES-256-GCM. An encrypted text is the base64url (RFC 4648, 5, without padding) of
 *
 *     head | nonce (12 bytes, random) | ciphertext (the text's length in UTF-8) | tag (16)
 *
 * The tag also covers the `associated` text, which has to be the same again for decrypting. The head is the caller's. One key
 * may be used for 2^32 texts (NIST SP 800-38D, 8.3).
 */
const CIPHER = 'aes-256-gcm';
const NONCE = 12;
/** Without the length, Node accepts a tag of 4 bytes. */
const TAG = { authTagLength: 16 } as const;

/** Encrypts a text with a key of 32 bytes. */
export function encrypt(key: Uint8Array, head: Uint8Array, text: string, associated: string): string {
  const nonce = randomNonce();
  const cipher = createCipheriv(CIPHER, key, nonce, TAG).setAAD(Buffer.from(associated, 'utf8'));
  const ciphertext = cipher.update(text, 'utf8');
  cipher.final();
  return Buffer.concat([head, nonce, ciphertext, cipher.getAuthTag()]).toString('base64url');
}

/** The text, given the bytes of an encrypted one and the length of its head; `undefined` for anything else. */
export function decrypt(key: Uint8Array, bytes: Uint8Array, head: number, associated: string): string | undefined {
  const start = head + NONCE;
  const end = bytes.length - TAG.authTagLength;
  if (end < start) return undefined;
  const decipher = createDecipheriv(CIPHER, key, bytes.subarray(head, start), TAG);
  decipher.setAAD(Buffer.from(associated, 'utf8')).setAuthTag(bytes.subarray(end));
  const plain = decipher.update(bytes.subarray(start, end));
  try {
    decipher.final(); // throws unless the tag is right: before that, `plain` must not be used
  } catch {
    return undefined;
  }
  return plain.toString('utf8');
}

/** Nonces in stock: a call for the random bytes of one takes as long as a call for hundreds. */
const stock: Buffer = Buffer.alloc(NONCE * 256);
let used: number = stock.length;

/** A nonce, to be used at once: its bytes are overwritten later. */
function randomNonce(): Buffer {
  if (used === stock.length) {
    randomFillSync(stock);
    used = 0;
  }
  used += NONCE;
  return stock.subarray(used - NONCE, used);
}
