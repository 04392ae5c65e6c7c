import { hash, randomBytes } from 'node:crypto';
import Keygrip from 'keygrip';
import { OptionError } from '../errors.js';

/** Signs and verifies, as a Keygrip does. */
export interface Signer {
  /** The signature, made with the first key. */
  sign(data: string): string;
  /** Whether the signature was made with any of the keys. */
  verify(data: string, signature: string): boolean;
}

/** Characters of an id. */
export const ID_LENGTH = 32;

/** A new session id: 192 random bits as 32 characters of base64url. No id comes from anywhere else. */
export function newId(): string {
  return randomBytes(24).toString('base64url');
}

/**
 * Where a store keeps a session: SHA-256 over the session's name and id, as 43 characters of base64url.
 * A leaked store therefore holds no id, an id is valid only under its own name, and nothing that a visitor sends
 * ever becomes part of a path or a key. (A name can't hold a NUL, so no two pairs hash the same text.)
 */
export function addressOf(name: string, id: string): string {
  return hash('sha256', `${name}\0${id}`, 'base64url');
}

/** How many addresses are remembered. */
const MAX_ADDRESSES = 1000;

/** The addresses of a name's ids. Recent ones are remembered: the hash is a tenth of what a session costs that is only read. */
export class Addresses {
  readonly #name: string;
  readonly #recent: Map<string, string> = new Map();

  constructor(name: string) {
    this.#name = name;
  }

  of(id: string): string {
    const known = this.#recent.get(id);
    if (known !== undefined) return known;
    const address = addressOf(this.#name, id);
    if (this.#recent.size >= MAX_ADDRESSES) this.#recent.clear();
    this.#recent.set(Buffer.from(id).toString(), address); // not a slice of the header: that keeps the whole header in memory
    return address;
  }
}

/** What a token says: the session's id, and at which revision its record was when the token was made. */
export interface TokenContent {
  readonly id: string;
  readonly revision: number | undefined;
}

/**
 * The token for an id: `id`, then `.revision` (base 36) where one is given, then `.signature` where there are keys. Only
 * name and id are signed: a visitor who lowers the revision may read older content of the visitor's own session, no more.
 */
export function writeToken(name: string, { id, revision }: TokenContent, signer: Signer | undefined): string {
  const token = revision === undefined ? id : `${id}.${revision.toString(36)}`;
  return signer ? `${token}.${signer.sign(`${name}=${id}`)}` : token;
}

/**
 * What a token says, once its form and its signature are right; otherwise what is wrong with it. A revision may be there
 * or not, whatever this process writes: others may run another release, or with other options.
 */
export function readToken(
  name: string,
  token: string,
  signer: Signer | undefined,
): TokenContent | { reason: 'malformed' | 'signature' } {
  if (!/^[\w-]{32}(\.|$)/.test(token)) return { reason: 'malformed' };
  const id = token.slice(0, ID_LENGTH);
  const rest = token.slice(ID_LENGTH);
  if (rest === '') return signer ? { reason: 'signature' } : { id, revision: undefined };
  const isEnd = (end: string): boolean =>
    signer ? end.startsWith('.') && signer.verify(`${name}=${id}`, end.slice(1)) : end === '';
  const digits = /^\.([1-9a-z][\da-z]{0,9})(?=\.|$)/.exec(rest)?.[1];
  if (digits !== undefined && isEnd(rest.slice(1 + digits.length)))
    return { id, revision: Number.parseInt(digits, 36) };
  // Without a revision. (The signature of a custom signer may begin as a revision does.)
  return isEnd(rest) ? { id, revision: undefined } : { reason: 'signature' };
}

/** A signer from what Koa's `app.keys` and the option `keys` may be. */
export function toSigner(option: string, keys: unknown): Signer {
  if (typeof keys === 'object' && keys !== null && 'sign' in keys && 'verify' in keys) return keys as Signer;
  const isSecret = (key: unknown): boolean => (typeof key === 'string' || key instanceof Uint8Array) && key.length > 0;
  if (Array.isArray(keys) && keys.length > 0 && keys.every(isSecret)) return new Keygrip(keys as string[], 'sha256');
  // As an object, since an error must not show a secret.
  throw new OptionError(option, keys && Object(keys), 'a Keygrip, or a list of secrets that are not empty');
}
