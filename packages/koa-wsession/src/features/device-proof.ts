import { type JsonWebKey, verify } from 'node:crypto';

/*
 * The proofs of Device Bound Session Credentials (W3C webappsec-dbsc): JWTs (RFC 7519) signed by a key that the browser
 * made for the session. A key goes with one algorithm, so that the proof can't choose another.
 */

/** A public key: its members in the form of a JSON Web Key (RFC 7518, 6), and no others. */
export type DeviceKey =
  | { readonly kty: 'EC'; readonly crv: 'P-256'; readonly x: string; readonly y: string }
  | { readonly kty: 'RSA'; readonly n: string; readonly e: 'AQAB' };

/** Characters of a proof with an RSA key of 4096 bits, and some. */
const MAX_LENGTH = 4096;

/**
 * The challenge that a proof answers, where this key has signed it; `'own'`: the key in the proof itself, as at a
 * registration. `undefined` for anything else.
 */
export function openProof(jwt: string, by: DeviceKey | 'own'): { challenge: string; key: DeviceKey } | undefined {
  if (jwt.length > MAX_LENGTH) return undefined;
  const [, head = '', payload = '', signature = ''] = /^([\w-]+)\.([\w-]+)\.([\w-]+)$/.exec(jwt) ?? [];
  const header = readJson(head);
  const challenge = readJson(payload)?.jti;
  // `crit` names extensions that must be understood (RFC 7515, 4.1.11).
  if (header?.typ !== 'dbsc+jwt' || 'crit' in header || typeof challenge !== 'string') return undefined;
  const key = by === 'own' ? toDeviceKey(header.jwk) : by;
  if (!key || header.alg !== (key.kty === 'EC' ? 'ES256' : 'RS256')) return undefined;
  return isSigned(`${head}.${payload}`, signature, key) ? { challenge, key } : undefined;
}

/** The bytes behind base64url in its canonical form; Node also decodes others. */
function bytesOf(text: unknown): Buffer | undefined {
  if (typeof text !== 'string') return undefined;
  const bytes = Buffer.from(text, 'base64url');
  return bytes.toString('base64url') === text ? bytes : undefined;
}

function readJson(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(String(bytesOf(text)));
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

function toDeviceKey(jwk: unknown): DeviceKey | undefined {
  const { kty, crv, x, y, n, e } = (jwk ?? {}) as Record<string, unknown>;
  const lengthOf = (member: unknown): number => bytesOf(member)?.length ?? 0;
  if (kty === 'EC' && crv === 'P-256' && lengthOf(x) === 32 && lengthOf(y) === 32)
    return { kty, crv, x: x as string, y: y as string };
  if (kty === 'RSA' && e === 'AQAB' && lengthOf(n) >= 256 && lengthOf(n) <= 512) return { kty, n: n as string, e };
  return undefined;
}

function isSigned(data: string, signature: string, jwk: DeviceKey): boolean {
  const bytes = bytesOf(signature);
  if (!bytes) return false;
  try {
    const key = { key: jwk as JsonWebKey, format: 'jwk', dsaEncoding: 'ieee-p1363' } as const;
    return verify('sha256', Buffer.from(data), key, bytes);
  } catch {
    return false; // such as a point that isn't on the curve
  }
}
