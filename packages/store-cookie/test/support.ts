import { createCipheriv, createDecipheriv, createHash, createHmac, randomBytes, scryptSync } from 'node:crypto';
import { CookieStore } from '@koa-wsession/store-cookie';
import { type Awaitable, type Call, type Changes, isRecord, type SessionRecord } from 'koa-wsession/store';

export const HOUR = 3_600_000;

/** Deriving a key takes 0.2 s: so the tests share their secrets. */
export const SECRET = 'the secret of the tests, which nobody else has';
export const OTHER_SECRET = 'another secret of the tests, 32 bytes or more';

export const call: Call = { name: 'wsession', deadline: Number.POSITIVE_INFINITY };

export function makeStore(secret: string | readonly string[] = SECRET): CookieStore {
  return new CookieStore(secret);
}

export function newAddress(): string {
  return createHash('sha256').update(randomBytes(24)).digest('base64url');
}

export function recordOf(entries: Record<string, string> = {}, lifetime: number = HOUR): SessionRecord {
  return {
    entries: new Map(Object.entries(entries)),
    createdAt: Date.now(),
    updatedAt: Date.now(),
    expiresAt: Date.now() + lifetime,
    revision: 1,
  };
}

export function changesOf(entries: Record<string, string>, lifetime: number = HOUR): Changes {
  const now = Date.now();
  return { set: new Map(Object.entries(entries)), delete: [], updatedAt: now, expiresAt: now + lifetime };
}

/** What a store without `revocations` returns: it never waits. */
export function now<T>(answer: Awaitable<T>): T {
  if (answer instanceof Promise) throw new Error('it is a promise');
  return answer;
}

/** Creates a session and returns its token. */
export function create(store: CookieStore, record: SessionRecord = recordOf({ a: '1' }), at: Call = call): string {
  return tokenOf(store.create(newAddress(), record, at));
}

export function update(store: CookieStore, token: string, changes: Changes): string {
  return tokenOf(now(store.update(token, changes, call)));
}

function tokenOf(answer: { outcome: string; token?: string }): string {
  if (answer.token === undefined) throw new Error(`no token, but ${answer.outcome}`);
  return answer.token;
}

/* A second implementation of the README's description of a token. */

export function masterKeyOf(secret: string): Buffer {
  const known = masterKeys.get(secret);
  const key =
    known ?? scryptSync(secret, '@koa-wsession/store-cookie 1', 32, { N: 32768, r: 8, p: 3, maxmem: 100_000_000 });
  masterKeys.set(secret, key);
  return key;
}

const masterKeys = new Map<string, Buffer>();

function messageKeyOf(masterKey: Buffer, random: Buffer): Buffer {
  return createHmac('sha256', masterKey)
    .update(Buffer.concat([Buffer.from('koa-wsession message key'), random.subarray(0, 12)]))
    .digest();
}

export function sealByHand(
  text: string,
  {
    masterKey = masterKeyOf(SECRET),
    name = 'wsession',
    version = 1,
    random = randomBytes(24),
    tagLength = 16,
  }: { masterKey?: Buffer; name?: string; version?: number; random?: Buffer; tagLength?: number } = {},
): string {
  const cipher = createCipheriv('aes-256-gcm', messageKeyOf(masterKey, random), random.subarray(12, 24), {
    authTagLength: tagLength,
  });
  cipher.setAAD(Buffer.concat([Buffer.of(version), Buffer.from(name)]));
  const body = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()]);
  return Buffer.concat([Buffer.of(version), random, body, cipher.getAuthTag()]).toString('base64url');
}

export function openByHand(token: string, name = 'wsession', masterKey: Buffer = masterKeyOf(SECRET)): string {
  const bytes = Buffer.from(token, 'base64url');
  const random = bytes.subarray(1, 25);
  const key = messageKeyOf(masterKey, random);
  const decipher = createDecipheriv('aes-256-gcm', key, random.subarray(12), { authTagLength: 16 });
  decipher.setAAD(Buffer.concat([bytes.subarray(0, 1), Buffer.from(name)]));
  decipher.setAuthTag(bytes.subarray(bytes.length - 16));
  return decipher.update(bytes.subarray(25, bytes.length - 16), undefined, 'utf8') + decipher.final('utf8');
}

/** The record, or `undefined` for every kind of absence. */
export function loaded(store: CookieStore, token: string, at: Call = call): SessionRecord | undefined {
  const answer = now(store.load(token, at));
  return isRecord(answer) ? answer : undefined;
}
