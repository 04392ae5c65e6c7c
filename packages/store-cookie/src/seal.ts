import { createHmac, type KeyObject, randomBytes } from 'node:crypto';
import { decrypt, encrypt } from 'koa-wsession/store';

/** A longer token isn't opened: a header carries no more, and a browser's cookie half of that. */
export const MAX_TOKEN_LENGTH = 8192;

/*
 * A token is an encrypted text (AES-256-GCM) with the head
 *
 *     version (1 byte) | random (12)
 *
 * GCM allows 2^32 random nonces for a key: a site that seals 100 tokens a second reaches that in 16 months. So the master
 * key is never used with a nonce, which is the idea of XAES-256-GCM: the head's random bytes derive a message key from it.
 * Each process takes a new one every 2^20 tokens. The chance that two tokens of a key have the same nonce is 2^-57.
 *
 * The tag also covers the version and the session's name. The version is always one byte, so no name can pass for it.
 */
const VERSION = 1;
const HEAD = 13;

/** Deriving a message key takes a fifth of what sealing takes. */
const TOKENS_PER_KEY = 2 ** 20;

/** Seals texts into tokens and opens them again. Without a key, a token can't be read, made or changed. */
export class Sealer {
  readonly #keys: readonly KeyObject[];
  readonly #tokensPerKey: number;
  /** The current message key with the head that derives it, and for how many more tokens. */
  #message: { readonly key: Buffer; readonly head: Buffer; left: number } | undefined;

  /** At least one master key of 256 bits: the first seals, each opens. */
  constructor(keys: readonly KeyObject[], tokensPerKey: number = TOKENS_PER_KEY) {
    this.#keys = keys;
    this.#tokensPerKey = tokensPerKey;
  }

  /** A token for the text, valid under this name only. The same text gets a different token each time. */
  seal(name: string, text: string): string {
    if (!this.#message?.left) {
      const head = Buffer.concat([Buffer.of(VERSION), randomBytes(HEAD - 1)]);
      const key = deriveMessageKey(this.#keys[0] as KeyObject, head);
      this.#message = { key, head, left: this.#tokensPerKey };
    }
    this.#message.left--;
    return encrypt(this.#message.key, this.#message.head, text, associated(name));
  }

  /** The text that was sealed under this name; `undefined` for anything else that a visitor sends. Never throws. */
  open(name: string, token: string): string | undefined {
    if (token.length > MAX_TOKEN_LENGTH) return undefined;
    const bytes = Buffer.from(token, 'base64url');
    // Node decodes leniently, but a token is valid only in the spelling that `seal` makes.
    if (bytes[0] !== VERSION || bytes.toString('base64url') !== token) return undefined;
    for (const key of this.#keys) {
      const text = decrypt(deriveMessageKey(key, bytes), bytes, HEAD, associated(name));
      if (text !== undefined) return text;
    }
    return undefined;
  }
}

function deriveMessageKey(masterKey: KeyObject, bytes: Buffer): Buffer {
  return createHmac('sha256', masterKey).update('koa-wsession message key').update(bytes.subarray(1, HEAD)).digest();
}

/** What the tag covers besides the ciphertext. */
function associated(name: string): string {
  return String.fromCharCode(VERSION) + name;
}
