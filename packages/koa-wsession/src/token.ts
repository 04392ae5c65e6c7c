import { hash, randomBytes } from 'node:crypto';

/** What a Keygrip does: signs with the first key, and verifies against each. */
export interface Signer {
  /** The signature, made with the first key. */
  sign(data: string): string;
  /** Whether the signature is one of any of the keys. */
  verify(data: string, signature: string): boolean;
}

/** A new session id: 192 random bits as 32 characters of base64url. Ids come from here and from nowhere else. */
export function newId(): string {
  return randomBytes(24).toString('base64url');
}

/**
 * Where a store keeps a session: SHA-256 over the session's name and id, as 43 characters of base64url.
 * A leaked store therefore holds no id, an id counts only under its own name, and nothing that a visitor sends
 * ever becomes part of a path or a key. (A name can't hold a NUL, so no two pairs hash the same text.)
 */
export function addressOf(name: string, id: string): string {
  return hash('sha256', `${name}\0${id}`, 'base64url');
}

/** The cookie's value for an id: the id, and behind a dot its signature where there are keys. */
export function signId(name: string, id: string, signer: Signer | undefined): string {
  return signer ? `${id}.${signer.sign(`${name}=${id}`)}` : id;
}

/** The id in a token, once its form and its signature are right; else what is wrong with it. */
export function verifyId(
  name: string,
  token: string,
  signer: Signer | undefined,
): { id: string } | { reason: 'malformed' | 'signature' } {
  const id = token.slice(0, 32);
  const signature = token.slice(33);
  if (!/^[\w-]{32}$/.test(id) || (token.length > 32 && token[32] !== '.')) return { reason: 'malformed' };
  const verified = signer ? signer.verify(`${name}=${id}`, signature) : token.length === 32;
  return verified ? { id } : { reason: 'signature' };
}
