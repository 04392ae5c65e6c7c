import type { IncomingMessage } from 'node:http';
import type * as Koa from 'koa';
import { OptionError, type SessionError, UnavailableError, UnprovenError } from '../errors.js';
import type { ExtendedRequest, Extension, LogInExtension } from '../kernel/extension.js';
import type { RejectionReason, SessionEventName } from '../kernel/observer.js';
import type { SessionOptions } from '../kernel/options.js';
import type { SessionRequest } from '../kernel/request.js';
import { type Found, Loaded, type TokenStore } from '../kernel/token-store.js';
import { deletionOf, readCookies } from '../kernel/transport.js';
import { checkOption, checkOptionNames, isSeconds } from '../store/options.js';
import type { Entries, Store } from '../store/store.js';
import {
  BINDING_KEY,
  type Binding,
  CHALLENGES_KEY,
  type Challenge,
  hashOf,
  isAnswered,
  isBoundCookie,
  newBinding,
  newChallenge,
  OFFER_KEY,
  readEntry,
  signExpiry,
} from './device-binding.js';
import { addHandle, findByHandle, follow, load } from './device-index.js';
import { openProof } from './device-proof.js';

/** Seconds for which the challenge of a login can be answered. */
const OFFER_LIFETIME = 60;
/** Milliseconds after a registration in which requests count without a bound cookie: they were sent before it. */
const GRACE = 30_000;
/** How often a step is tried again because another request changed the same entries. */
const MAX_TRIES = 8;

/** From the entries of a session to new ones; `undefined`: they stay. */
type Step = (entries: Entries) => Readonly<Record<string, string | undefined>> | undefined;

/**
 * Binds sessions to devices by Device Bound Session Credentials (https://w3c.github.io/webappsec-dbsc/): the browser
 * registers a key after the login, and proves every few minutes that it holds the key; for each proof it gets a cookie.
 */
export class DeviceBound implements Extension {
  readonly #cookie: string;
  readonly #attributes: string;
  readonly #registration: string;
  readonly #refresh: string;
  readonly #lifetime: number;

  /** @throws OptionError */
  constructor(store: Store, options: SessionOptions) {
    const { name = 'wsession', path: base = '/', sameSite = 'lax', deviceBound } = options;
    const own = typeof deviceBound === 'object' ? deviceBound : {};
    checkOptionNames('deviceBound', own, ['path', 'lifetime']);
    const { path = `${base.replace(/\/$/, '')}/device-bound`, lifetime = 600 } = own;
    checkCombination(store, options);
    checkOption('deviceBound.path', path, (value) => isBelow(value, base), `a path below the cookie's, ${base}`);
    checkOption('deviceBound.lifetime', lifetime, (value) => isSeconds(value) && lifetime >= 300, 'seconds from 300');
    this.#cookie = `${name}_bound`;
    this.#attributes = `Path=${base}; Secure; HttpOnly; SameSite=${sameSite[0]?.toUpperCase()}${sameSite.slice(1)}`;
    this.#registration = `${path}/register`;
    this.#refresh = `${path}/refresh`;
    this.#lifetime = lifetime;
  }

  /** Offers a registration: only here, since otherwise a thief could bind a key of their own. */
  beginLogIn(request: ExtendedRequest): LogInExtension | undefined {
    if (!isTrustworthy(request)) return undefined;
    const { text, kept } = newChallenge(OFFER_LIFETIME);
    const offer = `(ES256 RS256);path="${this.#registration}";challenge="${text}"`;
    return {
      entries: new Map([[OFFER_KEY, JSON.stringify(kept)]]),
      onStored: () => request.addHeader('Secure-Session-Registration', offer),
    };
  }

  admit({ key, entries }: Loaded, request: ExtendedRequest): RejectionReason | SessionError | undefined {
    const text = entries.get(BINDING_KEY);
    if (text === undefined) return undefined;
    const binding = readEntry<Binding>(text);
    if (typeof binding?.secret !== 'string') return 'corrupt';
    const { cookie, 'secure-session-skipped': skipped } = request.req.headers;
    const sent = cookie === undefined ? [] : readCookies(cookie, this.#cookie);
    if (sent.some((value) => isBoundCookie(value, binding))) return undefined;
    if (skipped !== undefined && isAbout(String(skipped), binding)) return new UnprovenError();
    if (Date.now() - binding.since < GRACE) return undefined;
    // The browser renews the cookie only where it is missing.
    if (sent.length > 0) request.addHeader('Set-Cookie', deletionOf(this.#cookie, `; ${this.#attributes}`));
    publish('unbound', request.tokens, key);
    return 'unbound';
  }

  /** Answers the browser's own requests, which no other middleware sees. */
  respond(request: SessionRequest, ctx: Koa.Context): Promise<boolean> | undefined {
    if (ctx.method !== 'POST') return undefined;
    const path = ctx.originalUrl.split('?', 1)[0];
    if (path === this.#registration) return this.#register(request, ctx);
    if (path === this.#refresh) return this.#prove(request, ctx);
    return undefined;
  }

  async #register(request: SessionRequest, ctx: Koa.Context): Promise<boolean> {
    const proof = openProof(responseOf(ctx.req));
    if (!proof) return respondWith(ctx, 403);
    const { tokens } = request;
    const binding = newBinding(proof.key);
    const bound = await change(tokens, await sessionOf(request, hashOf(proof.challenge)), (entries) => {
      const offer = readEntry<Challenge>(entries.get(OFFER_KEY));
      if (!offer || !isAnswered(offer, proof.challenge)) return undefined;
      return { [OFFER_KEY]: undefined, [BINDING_KEY]: JSON.stringify(binding) };
    });
    if (!bound) return respondWith(ctx, 403);
    await addHandle(tokens, binding, bound);
    publish('bound', tokens, bound.key);
    return this.#instruct(ctx, binding);
  }

  /** A refresh: asks for a proof, or takes one. An invalid one ends nothing, since anybody with the cookie can send it. */
  async #prove(request: SessionRequest, ctx: Koa.Context): Promise<boolean> {
    const id = ctx.get('Sec-Secure-Session-Id').replace(/^"(.*)"$/, '$1');
    const { text, kept } = newChallenge(2 * this.#lifetime);
    let binding: Binding | undefined;
    let isProven = false;
    const changed = await change(request.tokens, await sessionOf(request, id), (entries) => {
      binding = readEntry<Binding>(entries.get(BINDING_KEY));
      if (binding?.id !== id) return undefined;
      const proof = openProof(responseOf(ctx.req), binding.key);
      const open = readEntry<Challenge[]>(entries.get(CHALLENGES_KEY)) ?? [];
      const answered = proof && open.find((challenge) => isAnswered(challenge, proof.challenge));
      isProven = answered !== undefined;
      // The one before stays, for a browser that refreshes twice at once.
      const previous = open.filter((challenge) => challenge !== answered).slice(0, 1);
      return { [CHALLENGES_KEY]: JSON.stringify([kept, ...previous]) };
    });
    if (!changed || !binding) return respondWith(ctx, 200, { session_identifier: id.slice(0, 256), continue: false });
    ctx.set('Secure-Session-Challenge', `"${text}";id="${binding.id}"`);
    if (!isProven) return respondWith(ctx, 403);
    await addHandle(request.tokens, binding, changed);
    publish('refreshed', request.tokens, changed.key);
    return this.#instruct(ctx, binding);
  }

  /** Responds with the session instructions, and the bound cookie. */
  #instruct(ctx: Koa.Context, binding: Binding): boolean {
    const value = signExpiry(Date.now() + this.#lifetime * 1000, binding);
    ctx.append('Set-Cookie', `${this.#cookie}=${value}; Max-Age=${this.#lifetime}; ${this.#attributes}`);
    return respondWith(ctx, 200, {
      session_identifier: binding.id,
      refresh_url: this.#refresh,
      scope: { origin: `${ctx.protocol}://${ctx.host}`, include_site: false },
      credentials: [{ type: 'cookie', name: this.#cookie, attributes: this.#attributes }],
      // Otherwise Chromium follows a link from another site without a renewal, and the visitor seems to be logged out.
      allowed_refresh_initiators: ['*'],
    });
  }
}

function publish(event: SessionEventName, tokens: TokenStore, key: string): void {
  const { name, observer } = tokens.options;
  observer.publish(event, () => ({ name, session: tokens.refOf(key) }));
}

/** Changes a session by compare and set; its expiry stays. Returns `undefined` where nothing is changed. */
async function change(tokens: TokenStore, found: Found, step: Step): Promise<Loaded | undefined> {
  let loaded = await follow(tokens, found);
  for (let tries = 0; tries < MAX_TRIES; tries++) {
    const { entries } = loaded ?? {};
    const changes = entries && step(entries);
    if (!loaded || !entries || !changes) return undefined;
    const keys = Object.keys(changes);
    const answer = await tokens.update(loaded, {
      set: new Map(keys.flatMap((key) => (changes[key] === undefined ? [] : [[key, changes[key]]]))),
      delete: keys.filter((key) => changes[key] === undefined),
      updatedAt: Date.now(),
      expiresAt: undefined,
      expect: new Map(keys.map((key) => [key, entries.get(key)])),
    });
    if (answer instanceof Loaded) return answer;
    loaded = await follow(tokens, await load(tokens, loaded.key));
  }
  throw new UnavailableError('The session changed too often to be bound');
}

/** The session of the request's cookie; where the browser sent none at all, that of the handle. */
async function sessionOf(request: SessionRequest, handle: string): Promise<Found> {
  return request.hasToken ? request.found : findByHandle(request.tokens, handle);
}

function respondWith(ctx: Koa.Context, status: number, body?: object): true {
  ctx.status = status;
  ctx.set('Cache-Control', 'no-store');
  ctx.body = body ?? '';
  return true;
}

function responseOf({ headers }: IncomingMessage): string | undefined {
  const value = headers['secure-session-response'];
  return value === undefined ? undefined : String(value).replace(/^"(.*)"$/, '$1');
}

/** Whether the browser says of this binding that it couldn't renew the cookie. */
function isAbout(skipped: string, { id }: Binding): boolean {
  return !skipped.includes('session_identifier') || skipped.includes(id);
}

/** Where browsers take part: over https, and on localhost. */
function isTrustworthy({ secure, req }: ExtendedRequest): boolean {
  return secure || /^([\w-]+\.)*localhost(:\d+)?$/i.test(req.headers.host ?? '');
}

function isBelow(path: unknown, base: string): boolean {
  if (typeof path !== 'string' || !/^\/[\w\-.~/]*[\w\-.~]$/.test(path)) return false;
  return path.startsWith(base.endsWith('/') ? base : `${base}/`);
}

function checkCombination({ capabilities, domain, index }: Store, options: SessionOptions): void {
  const { partitioned = false, transport = 'cookie' } = options;
  const refused = [
    [capabilities.seals || !capabilities.merges, 'a store that seals: the key has to stay on the server'],
    [!index, 'a store without an index: sessions have to be found without their cookie'],
    [partitioned, 'partitioned: true: browsers bind no partitioned cookies'],
    [domain !== undefined, 'a domain: the other hosts would get the cookie without the proof'],
    [[transport].flat().some((one) => one !== 'cookie'), 'a transport besides the cookie: browsers bind only cookies'],
  ] as const;
  for (const [isSo, why] of refused)
    if (isSo) throw new OptionError('deviceBound', options.deviceBound, `none with ${why}`);
}
