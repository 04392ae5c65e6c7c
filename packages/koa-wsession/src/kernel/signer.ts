import Keygrip from 'keygrip';
import { OptionError } from '../errors.js';
import type { Signer } from './token.js';

/** A signer from what Koa's `app.keys` and the option `keys` may be. */
export function toSigner(option: string, keys: unknown): Signer {
  if (typeof keys === 'object' && keys !== null && 'sign' in keys && 'verify' in keys) return keys as Signer;
  const isSecret = (key: unknown): boolean => (typeof key === 'string' || key instanceof Uint8Array) && key.length > 0;
  if (Array.isArray(keys) && keys.length > 0 && keys.every(isSecret)) return new Keygrip(keys as string[], 'sha256');
  // As an object, since an error must not show a secret.
  throw new OptionError(option, keys && Object(keys), 'a Keygrip, or a list of secrets that are not empty');
}
