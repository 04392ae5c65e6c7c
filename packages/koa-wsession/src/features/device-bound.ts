import type * as Koa from 'koa';
import { type SessionError, UnprovenError } from '../errors.js';
import type { ExtendedRequest, Extension, LogInExtension } from '../kernel/extension.js';
import type { RejectionReason } from '../kernel/observer.js';
import type { DeviceBoundOptions, Settings } from '../kernel/options.js';
import type { SessionRequest } from '../kernel/request.js';
import { Loaded } from '../kernel/token-store.js';
import { cookieTransport, isBelow, type Transport } from '../kernel/transport.js';
import { checkOption, checkOptionNames, isSeconds } from '../store/options.js';
import { isRecord } from '../store/record.js';
import * as device from './device-binding.js';
import { openProof } from './device-proof.js';
import { groupOf } from './owner-index.js';

/** Seconds after a registration in which requests count without a bound cookie: they were sent before it. */
const GRACE = 30;
/** How often a proof is tried again because another request changed the session meanwhile. */
const MAX_TRIES = 8;

/** What the browser is told; `undefined`: that its proof is invalid. `false`: the session changed meanwhile, try again. */
type Answer = object | false | undefined;

/**
 * Binds sessions to devices by Device Bound Session Credentials (https://w3c.github.io/webappsec-dbsc/): the browser
 * registers a key after the login, and proves every few minutes that it holds the key; for each proof it gets a cookie.
 */
export class DeviceBound implements Extension {
  readonly #cookie: Transport;
  readonly #path: string;
  readonly #lifetime: number;

  /** @throws OptionError */
  constructor(settings: Settings, deviceBound: true | DeviceBoundOptions) {
    const { name, attributes } = settings;
    const base = attributes.path;
    const own = deviceBound === true ? {} : deviceBound;
    checkOptionNames('deviceBound', own, ['path', 'lifetime']);
    // With the name, since several sessions of a host would otherwise take each other's requests.
    const standard = `${base.replace(/\/$/, '')}/device-bound/${encodeURIComponent(name)}`;
    const { path = standard, lifetime = 600 } = own;
    checkCombination(settings, deviceBound);
    checkOption('deviceBound.path', path, (value) => isPathBelow(base, value), `a path below the cookie's, ${base}`);
    const isLifetime = isSeconds(lifetime) && lifetime >= 300 && Number.isInteger(lifetime);
    checkOption('deviceBound.lifetime', lifetime, () => isLifetime, 'whole seconds from 300');
    const bound = { ...attributes, secure: true, httpOnly: true, priority: undefined };
    this.#cookie = cookieTransport(`${name}_bound`, bound);
    this.#path = path;
    this.#lifetime = lifetime;
  }

  /** Offers a registration: only here, since otherwise a thief could bind a key of their own. */
  beginLogIn(request: ExtendedRequest): LogInExtension | undefined {
    if (!isTrustworthy(request)) return undefined;
    const { challenge, entries } = device.newOffer(request.tokens.options.name);
    const offer = `(ES256 RS256);path="${this.#path}/register";challenge="${challenge}"`;
    return { entries, onStored: () => request.addHeader('Secure-Session-Registration', offer) };
  }

  admit({ key, entries }: Loaded, request: ExtendedRequest): RejectionReason | SessionError | undefined {
    if (!entries.has(device.BINDING_KEY)) return undefined;
    const binding = device.bindingOf(entries);
    if (!binding) return 'corrupt';
    const sent = this.#cookie.read(request.req) ?? [];
    if (sent.some((value) => device.isIssued('cookie', value, this.#lifetime, binding))) return undefined;
    if (isSkipped(request, entries.get(device.DEVICE_ID_KEY))) return new UnprovenError();
    if (device.isWithin(GRACE, binding.since)) return undefined;
    // The browser renews the cookie only where it is missing.
    if (sent.length > 0) request.addHeader('Set-Cookie', this.#cookie.clear());
    request.tokens.publish('unbound', key);
    return 'unbound';
  }

  /** Answers the browser's own requests, which no other middleware sees. */
  respond(request: SessionRequest, ctx: Koa.Context): Promise<true> | undefined {
    if (ctx.method !== 'POST' || !isTrustworthy(request)) return undefined;
    const path = ctx.originalUrl.split('?', 1)[0];
    if (path === `${this.#path}/register`) return respondWith(ctx, () => this.#register(request, ctx));
    if (path === `${this.#path}/refresh`) return respondWith(ctx, () => this.#refresh(request, ctx));
    return undefined;
  }

  async #register(request: SessionRequest, ctx: Koa.Context): Promise<Answer> {
    const proof = openProof(headerOf(ctx, 'Secure-Session-Response'), 'own');
    if (!proof) return undefined;
    const id = device.deviceIdOf(request.tokens.options.name, proof.challenge);
    const session = await sessionOf(request, id);
    const binding = session && device.bind(session.entries, proof.key);
    return binding && this.#accept(request, ctx, session, binding);
  }

  /** Asks for a proof, or takes one. An invalid one ends nothing, since anybody with the cookie can send it. */
  async #refresh(request: SessionRequest, ctx: Koa.Context): Promise<Answer> {
    const id = headerOf(ctx, 'Sec-Secure-Session-Id');
    const session = await sessionOf(request, id);
    const binding = session && device.bindingOf(session.entries);
    if (!binding) return { session_identifier: id, continue: false };
    ctx.set('Secure-Session-Challenge', `"${device.issue('challenge', binding)}";id="${id}"`);
    const proof = openProof(headerOf(ctx, 'Secure-Session-Response'), binding.key);
    const proven = proof && device.answer(binding, proof.challenge, 2 * this.#lifetime);
    return proven && this.#accept(request, ctx, session, proven);
  }

  /** Stores what a proof leads to, if the binding is still what it was, and hands out a new bound cookie. */
  async #accept({ tokens }: SessionRequest, ctx: Koa.Context, known: Loaded, to: device.Binding): Promise<Answer> {
    const former = known.entries.get(device.BINDING_KEY);
    const set = new Map([[device.BINDING_KEY, JSON.stringify(to)]]);
    const expect = new Map([[device.BINDING_KEY, former]]);
    // The expiry stays, since a proof doesn't count as use.
    const changes = { set, expect, delete: [device.OFFER_KEY], updatedAt: Date.now(), expiresAt: undefined, known };
    if (!((await tokens.update(known, changes)) instanceof Loaded)) return false;
    tokens.publish(former === undefined ? 'bound' : 'refreshed', known.key);
    ctx.append('Set-Cookie', this.#cookie.write(device.issue('cookie', to), this.#lifetime));
    const [pair = '', ...attributes] = this.#cookie.write('', undefined).split('; ');
    return {
      session_identifier: known.entries.get(device.DEVICE_ID_KEY),
      refresh_url: `${this.#path}/refresh`,
      scope: { origin: `${ctx.protocol}://${ctx.host}`, include_site: false },
      credentials: [{ type: 'cookie', name: pair.slice(0, -1), attributes: attributes.join('; ') }],
      // Otherwise Chromium follows a link from another site without a renewal, and the visitor seems to be logged out.
      allowed_refresh_initiators: ['*'],
    };
  }
}

async function respondWith(ctx: Koa.Context, work: () => Promise<Answer>): Promise<true> {
  let answer = await work();
  for (let tries = 1; answer === false && tries < MAX_TRIES; tries++) answer = await work();
  ctx.status = answer ? 200 : 403;
  ctx.set('Cache-Control', 'no-store');
  ctx.body = answer || '';
  return true;
}

/**
 * The session that the browser calls so, unless there is a cookie that leads to another one, or nowhere. Where the session
 * has a new id by now, or the browser sent no cookie, the index knows it: after a link from another site, Chromium sends
 * its own requests without cookies that are SameSite.
 */
async function sessionOf({ found, hasToken, tokens }: SessionRequest, id: string): Promise<Loaded | undefined> {
  const isAnothers = found instanceof Loaded ? found.entries.get(device.DEVICE_ID_KEY) !== id : hasToken && !found;
  if (isAnothers) return undefined;
  const group = groupOf(tokens.options.name, { key: device.DEVICE_ID_KEY, text: id });
  const listed = (await tokens.call('load', group, (call) => tokens.store.index?.keys(group, call))) ?? [];
  for (const key of found instanceof Loaded ? [found.key, ...listed] : listed) {
    const record = await tokens.load(key);
    if (isRecord(record)) return new Loaded(key, '', record, record.entries);
  }
  return undefined;
}

/** A request's header that is a string of a structured header (RFC 9651), or the text as it is. */
function headerOf(ctx: Koa.Context, name: string): string {
  return ctx.get(name).replace(/^"(.*)"$/, '$1');
}

/** Whether the browser says of this session that it couldn't renew the cookie. */
function isSkipped({ req }: ExtendedRequest, id: string | undefined): boolean {
  const skipped = String(req.headers['secure-session-skipped'] ?? '');
  return skipped !== '' && (!skipped.includes('session_identifier') || skipped.includes(String(id)));
}

/** Where browsers take part: over https, and on localhost. */
function isTrustworthy({ secure, req }: ExtendedRequest): boolean {
  return secure || /^([\w-]+\.)*localhost(:\d+)?$/i.test(req.headers.host ?? '');
}

/** Whether it is a path below another one, and one that browsers send as it is: they leave out segments such as "..". */
function isPathBelow(base: string, path: unknown): boolean {
  if (typeof path !== 'string' || !/^(\/[\w\-.~!'*%]+)+$/.test(path)) return false;
  return new URL(path, 'http://localhost').pathname === path && isBelow(base, path);
}

function checkCombination({ store, attributes, transports, cookie }: Settings, deviceBound: unknown): void {
  const obstacles = {
    'a store that seals, or has no index: the key stays on the server': !store.capabilities.merges || !store.index,
    'partitioned: true: browsers bind no partitioned cookies': attributes.partitioned,
    'a domain: the other hosts would get the cookie without the proof': attributes.domain !== undefined,
    'a transport besides the cookie: browsers bind only cookies': transports.some((one) => one !== cookie),
  };
  for (const [obstacle, isThere] of Object.entries(obstacles))
    checkOption('deviceBound', deviceBound, () => !isThere, `none with ${obstacle}`);
}
