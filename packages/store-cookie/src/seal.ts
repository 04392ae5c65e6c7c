import { createCipheriv, createDecipheriv, createHmac, type KeyObject, randomFillSync } from 'node:crypto';

/** The longest token that is looked at: a header carries no larger one, and browsers keep no larger cookie than half that. */
export const MAX_TOKEN_LENGTH = 8192;

/*
 * A token is the base64url (RFC 4648, 5, without padding) of
 *
 *     version (1 byte) | random (24) | ciphertext (as many as the text has in UTF-8) | tag (16)
 *
 * The version says how to read the rest, so that a later one can be another.
 *
 * The cipher is AES-256-GCM, of which one key may meet no more than 2^32 random nonces (NIST SP 800-38D, 8.3): a
 * site that seals 100 tokens a second gets there in 16 months. So the master key meets none, which is the idea of
 * XAES-256-GCM: the first half of the random bytes derives a message key from it, the second half is the nonce. Each
 * process takes another message key after so many tokens that two of them have the same nonce with a chance of 2^-57.
 *
 * The tag also covers the version and the session's name. They can't be mistaken for each other: the one is always
 * one byte.
 */
const VERSION = 1;
const HALF = 12;
const CIPHERTEXT_AT = 1 + 2 * HALF;
/** Unless told the length, Node takes a tag of 4 bytes, too. */
const TAG = { authTagLength: 16 } as const;
const KEY_LABEL = 'koa-wsession message key';

/** Deriving a message key takes a fifth of what sealing takes. */
const TOKENS_PER_KEY = 2 ** 20;

/** Seals texts into tokens, and opens them again: nobody without a key can read, make or change one. */
export class Sealer {
  readonly #keys: readonly KeyObject[];
  /** What is sealed with for now, and for how many tokens more. */
  #message: { readonly key: Buffer; readonly half: Buffer } | undefined;
  #left = 0;
  readonly #tokensPerKey: number;

  /** Master keys of 256 bits, one at least: the first seals, each opens. */
  constructor(keys: readonly KeyObject[], tokensPerKey: number = TOKENS_PER_KEY) {
    this.#keys = keys;
    this.#tokensPerKey = tokensPerKey;
  }

  /** A token for the text that opens under this name only. The same text gets a different one each time. */
  seal(name: string, text: string): string {
    if (!this.#message || this.#left === 0) {
      const half = Buffer.from(randomHalf());
      this.#message = { key: deriveMessageKey(this.#keys[0] as KeyObject, half), half };
      this.#left = this.#tokensPerKey;
    }
    this.#left--;
    const { key, half } = this.#message;
    const nonce = randomHalf();
    const cipher = createCipheriv('aes-256-gcm', key, nonce, TAG);
    cipher.setAAD(associated(name));
    const ciphertext = cipher.update(text, 'utf8');
    cipher.final();
    const parts = [Buffer.of(VERSION), half, nonce, ciphertext, cipher.getAuthTag()];
    return Buffer.concat(parts).toString('base64url');
  }

  /** The text that was sealed under this name; `undefined` for whatever else a visitor may send. Never throws. */
  open(name: string, token: string): string | undefined {
    if (token.length > MAX_TOKEN_LENGTH) return undefined;
    const bytes = Buffer.from(token, 'base64url');
    if (bytes[0] !== VERSION || bytes.length < CIPHERTEXT_AT + TAG.authTagLength) return undefined;
    // Node decodes leniently; only the one spelling that `seal` makes counts.
    if (bytes.toString('base64url') !== token) return undefined;
    for (const key of this.#keys) {
      const text = decrypt(key, name, bytes);
      if (text !== undefined) return text;
    }
    return undefined;
  }
}

function decrypt(masterKey: KeyObject, name: string, bytes: Buffer): string | undefined {
  const random = bytes.subarray(1, CIPHERTEXT_AT);
  const key = deriveMessageKey(masterKey, random.subarray(0, HALF));
  const decipher = createDecipheriv('aes-256-gcm', key, random.subarray(HALF), TAG);
  decipher.setAAD(associated(name)).setAuthTag(bytes.subarray(-TAG.authTagLength));
  const plain = decipher.update(bytes.subarray(CIPHERTEXT_AT, -TAG.authTagLength));
  try {
    decipher.final(); // throws unless the tag is right; until then, nobody looks at what was decrypted
  } catch {
    return undefined;
  }
  return plain.toString('utf8');
}

function deriveMessageKey(masterKey: KeyObject, half: Buffer): Buffer {
  return createHmac('sha256', masterKey).update(KEY_LABEL).update(half).digest();
}

/** What the tag covers beside the ciphertext. */
function associated(name: string): Buffer {
  return Buffer.from(String.fromCharCode(VERSION) + name, 'utf8');
}

/** Random bytes in stock, since a call for a few costs as much as one for thousands. */
const stock: Buffer = Buffer.alloc(HALF * 256);
let used = stock.length;

/** Random bytes, which are overwritten some calls later. */
function randomHalf(): Buffer {
  if (used === stock.length) {
    randomFillSync(stock);
    used = 0;
  }
  used += HALF;
  return stock.subarray(used - HALF, used);
}
