import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { Client, type ClientResponse, type RequestInit } from 'testkit/http';
import type { Site } from './helpers.js';

/* A browser that knows Device Bound Session Credentials, in small, and the JWTs that it signs. */

export type Algorithm = 'ES256' | 'RS256';

export interface KeyPair {
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
}

export function newKeys(algorithm: Algorithm = 'ES256', bits = 2048): KeyPair {
  return algorithm === 'ES256'
    ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
    : generateKeyPairSync('rsa', { modulusLength: bits });
}

export const encodePart = (part: unknown): string => Buffer.from(JSON.stringify(part)).toString('base64url');

/** A JWT with these parts, signed as the algorithm says. */
export function signJwt(header: object, payload: object, key: KeyObject): string {
  const data = `${encodePart(header)}.${encodePart(payload)}`;
  return `${data}.${sign('sha256', Buffer.from(data), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`;
}

export class DeviceBrowser {
  readonly site: Site;
  readonly client: Client;
  readonly algorithm: Algorithm;
  readonly keys: KeyPair;
  /** The registration header of the response that had one last. */
  offer: string | undefined;
  id = '';
  instructions: Record<string, unknown> = {};
  challenge: string | undefined;

  constructor(site: Site, algorithm: Algorithm = 'ES256') {
    this.site = site;
    site.app.proxy = true;
    this.client = new Client(site.served);
    this.algorithm = algorithm;
    this.keys = newKeys(algorithm);
  }

  /** Over https, as a proxy says. */
  async request(method: string, path: string, { headers = {}, ...init }: RequestInit = {}): Promise<ClientResponse> {
    const reply = await this.client.request(method, path, {
      ...init,
      headers: { 'x-forwarded-proto': 'https', 'x-forwarded-host': 'shop.test', ...headers },
    });
    this.offer = (reply.headers['secure-session-registration'] as string) ?? this.offer;
    return reply;
  }

  get(path: string, headers: Record<string, string> = {}): Promise<ClientResponse> {
    return this.request('GET', path, { headers });
  }

  /** The challenge of the offer. */
  get offered(): string {
    return /challenge="([^"]*)"/.exec(this.offer ?? '')?.[1] ?? '';
  }

  registration(challenge: string = this.offered): string {
    const jwk = this.keys.publicKey.export({ format: 'jwk' });
    return signJwt({ alg: this.algorithm, jwk, typ: 'dbsc+jwt' }, { jti: challenge }, this.keys.privateKey);
  }

  proof(challenge: string): string {
    return signJwt({ alg: this.algorithm, typ: 'dbsc+jwt' }, { jti: challenge }, this.keys.privateKey);
  }

  async register(jwt: string = this.registration()): Promise<ClientResponse> {
    const path = /path="([^"]*)"/.exec(this.offer ?? '')?.[1] ?? '/device-bound/wsession/register';
    const reply = await this.request('POST', path, { headers: { 'secure-session-response': jwt } });
    if (reply.status === 200) this.#follow(reply);
    return reply;
  }

  /** Asks for a challenge. */
  async ask(id: string = this.id): Promise<ClientResponse> {
    return this.#refresh(id);
  }

  /** Answers a challenge. */
  async prove(jwt: string = this.proof(this.challenge ?? ''), id: string = this.id): Promise<ClientResponse> {
    return this.#refresh(id, { 'secure-session-response': jwt });
  }

  /** Logs in at `/login`, and registers. */
  async bind(): Promise<this> {
    await this.get('/login');
    await this.register();
    return this;
  }

  /** The bound cookie expires in the browser. */
  loseBoundCookie(): void {
    for (const name of this.client.jar.keys()) if (name.endsWith('_bound')) this.client.jar.delete(name);
  }

  /** Another client with a copy of the cookies, and a key of its own. */
  stolen(): DeviceBrowser {
    const thief = new DeviceBrowser(this.site, this.algorithm);
    for (const [name, value] of this.client.jar) thief.client.jar.set(name, value);
    return Object.assign(thief, { id: this.id, instructions: this.instructions });
  }

  async #refresh(id: string, headers: Record<string, string> = {}): Promise<ClientResponse> {
    const path = String(this.instructions.refresh_url ?? '/device-bound/wsession/refresh');
    const reply = await this.request('POST', path, {
      headers: { 'sec-secure-session-id': `"${id}"`, ...headers },
    });
    const challenge = /^"([^"]*)";id="/.exec(String(reply.headers['secure-session-challenge'] ?? ''))?.[1];
    if (challenge !== undefined) this.challenge = challenge;
    return reply;
  }

  #follow(reply: ClientResponse): void {
    this.instructions = reply.json();
    this.id = String(this.instructions.session_identifier);
  }
}
