import { createPublicKey, type JsonWebKey, type KeyObject, verify } from 'node:crypto';

/*
 * The proofs of Device Bound Session Credentials (W3C webappsec-dbsc): JWTs (RFC 7519) signed by a key that the browser
 * made for the session.
 */

/** Characters of a proof with an RSA key of 4096 bits, and some. */
const MAX_LENGTH = 4096;

/**
 * The challenge that a proof answers, where this key has signed it; `'own'`: the key in the proof itself, as at a
 * registration. `undefined` for anything else.
 */
export function openProof(jwt: string, by: JsonWebKey | 'own'): { challenge: string; key: JsonWebKey } | undefined {
  const parts = jwt.split('.', 3).map((part) => Buffer.from(part, 'base64url'));
  // Node also decodes other forms of base64url.
  const isCanonical = parts.map((part) => part.toString('base64url')).join('.') === jwt;
  if (jwt.length > MAX_LENGTH || !isCanonical) return undefined;
  const [head, payload, signature] = parts as [Buffer, Buffer, Buffer];
  try {
    const { typ, alg, jwk, crit } = JSON.parse(head.toString());
    const { jti: challenge } = JSON.parse(payload.toString());
    // `crit` names extensions that must be understood (RFC 7515, 4.1.11).
    if (typ !== 'dbsc+jwt' || crit !== undefined || typeof challenge !== 'string') return undefined;
    const key = createPublicKey({ key: by === 'own' ? jwk : by, format: 'jwk' });
    const signed = Buffer.from(jwt.slice(0, jwt.lastIndexOf('.')));
    const isProven = isFor(alg, key) && verify('sha256', signed, { key, dsaEncoding: 'ieee-p1363' }, signature);
    return isProven ? { challenge, key: key.export({ format: 'jwk' }) } : undefined;
  } catch {
    return undefined; // such as a part that is missing, JSON that is cut off, a point that isn't on the curve
  }
}

/** Whether a key goes with an algorithm: each with one, so that a proof can't choose another than its key's. */
function isFor(algorithm: unknown, { asymmetricKeyDetails = {} }: KeyObject): boolean {
  const { namedCurve, modulusLength = 0, publicExponent } = asymmetricKeyDetails;
  if (algorithm === 'ES256') return namedCurve === 'prime256v1';
  return algorithm === 'RS256' && modulusLength >= 2048 && publicExponent === 65_537n;
}
