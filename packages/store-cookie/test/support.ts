import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  randomBytes,
  scryptSync,
} from 'node:crypto';
import { CookieStore } from '@koa-wsession/store-cookie';
import Koa from 'koa';
import {
  type Call,
  type Changes,
  type SessionOptions,
  type SessionRecord,
  type Store,
  session,
} from 'koa-wsession';
import { Client, serve } from 'testkit/http';

declare module 'koa-wsession' {
  interface SessionData {
    counter?: number;
    large?: string;
    small?: string;
  }
}

export const HOUR = 3_600_000;

/** Deriving a key takes 0.2 s: the tests share their secrets. */
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
    expiresAt: Date.now() + lifetime,
  };
}

export function changesOf(entries: Record<string, string>, lifetime: number = HOUR): Changes {
  return { set: new Map(Object.entries(entries)), delete: [], expiresAt: Date.now() + lifetime };
}

/** A new session; answers its token. */
export function create(
  store: CookieStore,
  record: SessionRecord = recordOf({ a: '1' }),
  at: Call = call,
): string {
  return tokenOf(store.create(newAddress(), record, at));
}

export function update(store: CookieStore, token: string, changes: Changes): string {
  return tokenOf(store.update(token, changes, call));
}

function tokenOf(answer: { outcome: string; token?: string }): string {
  if (answer.token === undefined) throw new Error(`no token, but ${answer.outcome}`);
  return answer.token;
}

/* The README's description of a token, written down a second time. */

export function masterKeyOf(secret: string): Buffer {
  const known = masterKeys.get(secret);
  const key =
    known ??
    scryptSync(secret, '@koa-wsession/store-cookie 1', 32, { N: 32768, r: 8, p: 3, maxmem: 100_000_000 });
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

export function openByHand(
  token: string,
  name = 'wsession',
  masterKey: Buffer = masterKeyOf(SECRET),
): string {
  const bytes = Buffer.from(token, 'base64url');
  const random = bytes.subarray(1, 25);
  const key = messageKeyOf(masterKey, random);
  const decipher = createDecipheriv('aes-256-gcm', key, random.subarray(12), { authTagLength: 16 });
  decipher.setAAD(Buffer.concat([bytes.subarray(0, 1), Buffer.from(name)]));
  decipher.setAuthTag(bytes.subarray(bytes.length - 16));
  return decipher.update(bytes.subarray(25, bytes.length - 16), undefined, 'utf8') + decipher.final('utf8');
}

/* A small app over HTTP. */

export interface World {
  /** A visitor, with a cookie or without. */
  visitor(cookie?: string): Client;
  /** What the app reported as `error` events. */
  readonly errors: Array<Error & { code?: string; bytes?: number; largest?: readonly string[] }>;
  readonly app: Koa;
  close(): Promise<void>;
}

export type Handler = (ctx: Koa.Context) => unknown;

/** An app with a handler by path, on `store`. */
export async function makeWorld(
  store: Store,
  handlers: Record<string, Handler>,
  options: SessionOptions = {},
): Promise<World> {
  const app = new Koa();
  const errors: World['errors'] = [];
  app.on('error', (error) => errors.push(error));
  app.use(session(store, options));
  app.use(async (ctx) => {
    ctx.body = JSON.stringify((await handlers[ctx.path]?.(ctx)) ?? 'ok');
  });
  const served = await serve(app);
  return {
    app,
    errors,
    visitor(cookie) {
      const client = new Client(served);
      if (cookie !== undefined) client.jar.set(options.name ?? 'wsession', cookie);
      return client;
    },
    close: () => served.close(),
  };
}

export function count(ctx: Koa.Context): number {
  ctx.session.counter = (ctx.session.counter ?? 0) + 1;
  return ctx.session.counter;
}

export function read(ctx: Koa.Context): object {
  return { ...ctx.session };
}

/** The record, or `undefined` for whatever says that there is none. */
export function loaded(store: CookieStore, token: string, at: Call): SessionRecord | undefined {
  const answer = store.load(token, at);
  return typeof answer === 'object' ? answer : undefined;
}
