import { createCipheriv, createDecipheriv, createHmac, type KeyObject, randomBytes } from 'node:crypto';

/** A longer token isn't opened: a header carries no more, and a browser's cookie half of that. */
export const MAX_TOKEN_LENGTH = 8192;

/*
 * A token is the base64url (RFC 4648, 5, without padding) of
 *
 *     version (1 byte) | random (24) | ciphertext (the text's length in UTF-8) | tag (16)
 *
 * The version says how to read the rest.
 *
 * The cipher is AES-256-GCM, which allows 2^32 random nonces for a key (NIST SP 800-38D, 8.3): a site that seals 100
 * tokens a second reaches that in 16 months. So the master key is never used with a nonce, which is the idea of
 * XAES-256-GCM: the first half of the random bytes derives a message key from it, the second half is the nonce. Each
 * process takes a new message key every 2^20 tokens. The chance that two of them have the same nonce is 2^-57.
 *
 * The tag also covers the version and the session's name. The version is always one byte, so no name can pass for it.
 */
const VERSION = 1;
const HALF = 12;
const CIPHERTEXT_AT = 1 + 2 * HALF;
/** Without the length, Node accepts a tag of 4 bytes. */
const TAG = { authTagLength: 16 } as const;
const KEY_LABEL = 'koa-wsession message key';

/** Deriving a message key takes a fifth of what sealing takes. */
const TOKENS_PER_KEY = 2 ** 20;

/** Seals texts into tokens and opens them again. Without a key, a token can't be read, made or changed. */
export class Sealer {
  readonly #keys: readonly KeyObject[];
  /** The current message key with the random bytes that derive it, and for how many more tokens. */
  #message: { readonly key: Buffer; readonly half: Buffer; left: number } | undefined;
  readonly #tokensPerKey: number;

  /** At least one master key of 256 bits: the first seals, each opens. */
  constructor(keys: readonly KeyObject[], tokensPerKey: number = TOKENS_PER_KEY) {
    this.#keys = keys;
    this.#tokensPerKey = tokensPerKey;
  }

  /** A token for the text, valid under this name only. The same text gets a different token each time. */
  seal(name: string, text: string): string {
    if (!this.#message?.left) {
      const half = randomBytes(HALF);
      const key = deriveMessageKey(this.#keys[0] as KeyObject, half);
      this.#message = { key, half, left: this.#tokensPerKey };
    }
    this.#message.left--;
    const { key, half } = this.#message;
    const nonce = randomBytes(HALF);
    const cipher = createCipheriv('aes-256-gcm', key, nonce, TAG).setAAD(associated(name));
    const ciphertext = cipher.update(text, 'utf8');
    cipher.final();
    const parts = [Buffer.of(VERSION), half, nonce, ciphertext, cipher.getAuthTag()];
    return Buffer.concat(parts).toString('base64url');
  }

  /** The text that was sealed under this name; `undefined` for anything else that a visitor sends. Never throws. */
  open(name: string, token: string): string | undefined {
    if (token.length > MAX_TOKEN_LENGTH) return undefined;
    const bytes = Buffer.from(token, 'base64url');
    if (bytes[0] !== VERSION || bytes.length < CIPHERTEXT_AT + TAG.authTagLength) return undefined;
    // Node decodes leniently, but a token is valid only in the spelling that `seal` makes.
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
    decipher.final(); // throws unless the tag is right: before that, `plain` must not be used
  } catch {
    return undefined;
  }
  return plain.toString('utf8');
}

function deriveMessageKey(masterKey: KeyObject, half: Buffer): Buffer {
  return createHmac('sha256', masterKey).update(KEY_LABEL).update(half).digest();
}

/** What the tag covers besides the ciphertext. */
function associated(name: string): Buffer {
  return Buffer.from(String.fromCharCode(VERSION) + name, 'utf8');
}
