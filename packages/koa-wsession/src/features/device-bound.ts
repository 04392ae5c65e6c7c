import type * as Koa from 'koa';
import { type SessionError, UnavailableError, UnprovenError } from '../errors.js';
import type { ExtendedRequest, Extension, LogInExtension } from '../kernel/extension.js';
import type { RejectionReason, SessionEventName } from '../kernel/observer.js';
import type { DeviceBoundOptions, Settings } from '../kernel/options.js';
import type { SessionRequest } from '../kernel/request.js';
import { Loaded, type TokenStore } from '../kernel/token-store.js';
import { cookieTransport, type Transport } from '../kernel/transport.js';
import { checkOption, checkOptionNames, isSeconds } from '../store/options.js';
import type { Changes, Entries } from '../store/store.js';
import * as device from './device-binding.js';
import { findByDevice, load } from './device-index.js';
import { openProof } from './device-proof.js';

/** Seconds after a registration in which requests count without a bound cookie: they were sent before it. */
const GRACE = 30;
/** How often a step is tried again because another request changed the binding. */
const MAX_TRIES = 8;

/** From the entries of a session to its new binding; `undefined`: it stays as it is. */
type Step = (entries: Entries) => device.Binding | undefined;

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
    checkOption('deviceBound.path', path, (value) => isBelow(value, base), `a path below the cookie's, ${base}`);
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
    const { challenge, entry } = device.newOffer(request.tokens.options.name);
    const offer = `(ES256 RS256);path="${this.#path}/register";challenge="${challenge}"`;
    return {
      entries: new Map([[device.OFFER_KEY, entry]]),
      onStored: () => request.addHeader('Secure-Session-Registration', offer),
    };
  }

  admit({ key, entries }: Loaded, request: ExtendedRequest): RejectionReason | SessionError | undefined {
    if (!entries.has(device.BINDING_KEY)) return undefined;
    const binding = device.bindingOf(entries);
    if (!binding) return 'corrupt';
    const sent = this.#cookie.read(request.req) ?? [];
    if (sent.some((value) => device.isIssued('cookie', value, this.#lifetime, binding))) return undefined;
    if (isSkipped(request.req.headers['secure-session-skipped'], binding)) return new UnprovenError();
    if (device.isWithin(GRACE, binding.since)) return undefined;
    // The browser renews the cookie only where it is missing.
    if (sent.length > 0) request.addHeader('Set-Cookie', this.#cookie.clear());
    publish('unbound', request.tokens, key);
    return 'unbound';
  }

  /** Answers the browser's own requests, which no other middleware sees. */
  respond(request: SessionRequest, ctx: Koa.Context): Promise<boolean> | undefined {
    if (ctx.method !== 'POST' || !isTrustworthy(request)) return undefined;
    const path = ctx.originalUrl.split('?', 1)[0];
    if (path === `${this.#path}/register`) return this.#register(request, ctx);
    if (path === `${this.#path}/refresh`) return this.#prove(request, ctx);
    return undefined;
  }

  async #register(request: SessionRequest, ctx: Koa.Context): Promise<boolean> {
    const proof = openProof(unquote(ctx.get('Secure-Session-Response')), 'own');
    if (!proof) return respondWith(ctx, 403);
    const id = device.hashOf(request.tokens.options.name, proof.challenge);
    const isBound = await this.#accept(request, ctx, id, (entries) => device.bind(entries, id, proof.key));
    return isBound || respondWith(ctx, 403);
  }

  /** A refresh: asks for a proof, or takes one. An invalid one ends nothing, since anybody with the cookie can send it. */
  async #prove(request: SessionRequest, ctx: Koa.Context): Promise<boolean> {
    const id = unquote(ctx.get('Sec-Secure-Session-Id'));
    const jwt = unquote(ctx.get('Secure-Session-Response'));
    let binding: device.Binding | undefined;
    const isProven = await this.#accept(request, ctx, id, (entries) => {
      binding = device.bindingOf(entries);
      const proof = binding?.id === id ? openProof(jwt, binding.key) : undefined;
      return binding && proof && device.answer(binding, proof.challenge, 2 * this.#lifetime);
    });
    if (binding?.id !== id) return respondWith(ctx, 200, { session_identifier: id, continue: false });
    ctx.set('Secure-Session-Challenge', `"${device.issue('challenge', binding)}";id="${id}"`);
    return isProven || respondWith(ctx, 403);
  }

  /** Stores what a proof leads to, by compare and set, and responds with a new bound cookie. `false`: it leads nowhere. */
  async #accept(request: SessionRequest, ctx: Koa.Context, id: string, step: Step): Promise<boolean> {
    const { tokens } = request;
    let loaded = await sessionOf(request, id);
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const binding = step(loaded?.entries ?? new Map());
      if (!loaded || !binding) return false;
      const stored = await tokens.update(loaded, changesTo(binding, loaded));
      if (stored instanceof Loaded) {
        publish(loaded.entries.has(device.BINDING_KEY) ? 'refreshed' : 'bound', tokens, loaded.key);
        return this.#instruct(ctx, binding);
      }
      loaded = await load(tokens, loaded.key);
    }
    throw new UnavailableError('The session changed too often to be bound');
  }

  #instruct(ctx: Koa.Context, binding: device.Binding): true {
    const [pair = '', ...attributes] = this.#cookie.write('', undefined).split('; ');
    ctx.append('Set-Cookie', this.#cookie.write(device.issue('cookie', binding), this.#lifetime));
    return respondWith(ctx, 200, {
      session_identifier: binding.id,
      refresh_url: `${this.#path}/refresh`,
      scope: { origin: `${ctx.protocol}://${ctx.host}`, include_site: false },
      credentials: [{ type: 'cookie', name: pair.slice(0, -1), attributes: attributes.join('; ') }],
      // Otherwise Chromium follows a link from another site without a renewal, and the visitor seems to be logged out.
      allowed_refresh_initiators: ['*'],
    });
  }
}

function publish(event: SessionEventName, tokens: TokenStore, key: string): void {
  const { name, observer } = tokens.options;
  observer.publish(event, () => ({ name, session: tokens.refOf(key) }));
}

/** The session of the request's cookie; where the browser sent none at all, that of the id. */
async function sessionOf({ found, hasToken, tokens }: SessionRequest, id: string): Promise<Loaded | undefined> {
  if (found instanceof Loaded) return found;
  if (!hasToken) return findByDevice(tokens, id);
  return found && load(tokens, found.by);
}

/** Stores the binding if it is still what it was. The session's expiry stays, since a proof doesn't count as use. */
function changesTo(binding: device.Binding, known: Loaded): Changes {
  return {
    set: new Map([[device.BINDING_KEY, JSON.stringify(binding)]]),
    delete: [device.OFFER_KEY],
    updatedAt: Date.now(),
    expiresAt: undefined,
    expect: new Map([device.BINDING_KEY, device.OFFER_KEY].map((key) => [key, known.entries.get(key)])),
    known,
  };
}

function respondWith(ctx: Koa.Context, status: number, body?: object): true {
  ctx.status = status;
  ctx.set('Cache-Control', 'no-store');
  ctx.body = body ?? '';
  return true;
}

/** A string of a structured header (RFC 9651). */
function unquote(text: string): string {
  return text.replace(/^"(.*)"$/, '$1');
}

/** Whether the browser says of this binding that it couldn't renew the cookie. */
function isSkipped(header: string | string[] | undefined, { id }: device.Binding): boolean {
  const skipped = String(header ?? '');
  return skipped !== '' && (!skipped.includes('session_identifier') || skipped.includes(id));
}

/** Where browsers take part: over https, and on localhost. */
function isTrustworthy({ secure, req }: ExtendedRequest): boolean {
  return secure || /^([\w-]+\.)*localhost(:\d+)?$/i.test(req.headers.host ?? '');
}

function isBelow(path: unknown, base: string): boolean {
  if (typeof path !== 'string' || !/^(\/[\w\-.~!'*%]+)+$/.test(path)) return false;
  // As browsers send it: they leave out segments such as "..".
  return new URL(path, 'http://localhost').pathname === path && path.startsWith(base.endsWith('/') ? base : `${base}/`);
}

function checkCombination({ store, attributes, transports, cookie }: Settings, deviceBound: unknown): void {
  const { capabilities, index } = store;
  const { domain, partitioned } = attributes;
  const isCookie = transports.every((one) => one === cookie);
  const check = (isFine: boolean, otherwise: string): void =>
    checkOption('deviceBound', deviceBound, () => isFine, `none with ${otherwise}`);
  check(!capabilities.seals && capabilities.merges, 'a store that seals: the key has to stay on the server');
  check(index !== undefined, 'a store without an index: sessions have to be found without their cookie');
  check(!partitioned, 'partitioned: true: browsers bind no partitioned cookies');
  check(domain === undefined, 'a domain: the other hosts would get the cookie without the proof');
  check(isCookie, 'a transport besides the cookie: browsers bind only cookies');
}
