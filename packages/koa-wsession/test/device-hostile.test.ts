import { expect } from 'chai';
import { DeviceBrowser, encodePart, signJwt } from './device-browser.js';
import { BOUND, start, UNBOUND, whoIs } from './device-site.js';
import { tidy } from './helpers.js';

describe('hostile requests to the device’s paths', () => {
  afterEach(tidy);

  const part = (value: unknown) => (typeof value === 'string' ? value : encodePart(value));

  it('bind nothing, and are never a 5xx', async () => {
    const { site, browser } = await start();
    const rsa = new DeviceBrowser(site, 'RS256');
    await browser.get('/login');
    const jti = browser.offered;
    const jwk = browser.keys.publicKey.export({ format: 'jwk' });
    const rsaJwk = rsa.keys.publicKey.export({ format: 'jwk' });
    const good = { alg: 'ES256', jwk, typ: 'dbsc+jwt' };
    const [head, payload, signature] = browser.registration().split('.') as [string, string, string];
    const { newKeys } = await import('./device-browser.js');
    const { generateKeyPairSync } = await import('node:crypto');
    const ec = (namedCurve: string) => generateKeyPairSync('ec', { namedCurve });
    const own = (header: object, keys = browser.keys, claims: object = { jti }) =>
      signJwt(header, claims, keys.privateKey);
    const withKey = (keys: ReturnType<typeof newKeys>, alg: string) =>
      own({ alg, jwk: keys.publicKey.export({ format: 'jwk' }), typ: 'dbsc+jwt' }, keys);
    const jwts = [
      ...['', '.', '..', 'a.b.c', 'a.b', `${head}.${payload}`, `${head}.${payload}.`, `.${payload}.${signature}`],
      ...[`${head}.${payload}.${signature}=`, `${head}.${payload}.${signature}.x`, ` ${head}.${payload}.!!`],
      `${head}=.${payload}.${signature}`,
      `${head}.${payload}.${signature.slice(0, -2)}`,
      `${head}.${payload}.${'A'.repeat(86)}`,
      `${head}.${payload}.${toOtherForm(signature)}`,
      ...['none', 'HS256', 'ES384', 'RS256', 'PS256', 'es256', '', undefined, null, 1].map((alg) =>
        own({ ...good, alg }),
      ),
      `${part({ ...good, alg: 'none' })}.${payload}.`,
      ...[undefined, 'JWT', 'dbsc+jwt ', 1].map((typ) => own({ ...good, typ })),
      own({ ...good, crit: ['x'] }),
      own({ ...good, jwk: undefined }),
      ...[null, 1, 'x', [], {}, { kty: 'oct', k: 'AAAA' }].map((one) => own({ ...good, jwk: one })),
      own({ ...good, jwk: { ...jwk, x: 'AAAA' } }),
      own({ ...good, jwk: { ...jwk, x: jwk.y } }),
      own({ ...good, jwk: { ...jwk, x: `${jwk.x}A` } }),
      own({ ...good, jwk: { ...jwk, crv: 'P-384' } }),
      own({ ...good, jwk: rsaJwk }),
      own({ alg: 'RS256', jwk, typ: 'dbsc+jwt' }),
      own({ alg: 'ES256', jwk: rsaJwk, typ: 'dbsc+jwt' }, rsa.keys),
      own({ alg: 'RS256', jwk: { ...rsaJwk, e: 'AQ' }, typ: 'dbsc+jwt' }, rsa.keys),
      withKey(ec('P-384'), 'ES256'),
      withKey(ec('secp256k1'), 'ES256'),
      withKey(newKeys('RS256', 1024), 'RS256'),
      withKey(generateKeyPairSync('rsa', { modulusLength: 2048, publicExponent: 3 }), 'RS256'),
      own({ ...good, jwk: generateKeyPairSync('ed25519').publicKey.export({ format: 'jwk' }) }),
      ...[undefined, null, 1, {}, [jti], `${jti} `, jti.toUpperCase(), ''].map((one) =>
        own(good, browser.keys, { jti: one }),
      ),
      ...['null', '[]', '"x"', '{', ''].map(
        (text) => `${Buffer.from(text).toString('base64url')}.${payload}.${signature}`,
      ),
      ...['null', '[]', '"x"', '{', ''].map(
        (text) => `${head}.${Buffer.from(text).toString('base64url')}.${signature}`,
      ),
      own({ ...good, x: 'y'.repeat(5000) }),
      `${'a'.repeat(3000)}.${'b'.repeat(3000)}.c`,
    ];
    for (const jwt of jwts) {
      const reply = await browser.register(jwt);
      expect([reply.status, reply.setCookie], jwt.slice(0, 200)).to.deep.equal([403, []]);
    }
    expect(await whoIs(browser)).to.deep.equal(UNBOUND);
    expect((await browser.register()).status).to.equal(200);

    for (const jwt of jwts) expect((await browser.prove(jwt)).status).to.equal(403);
    await browser.ask();
    const challenge = browser.challenge as string;
    const thief = browser.stolen();
    const forged = [
      thief.proof(challenge),
      thief.registration(challenge),
      signJwt(
        { ...good, jwk: thief.keys.publicKey.export({ format: 'jwk' }) },
        { jti: challenge },
        thief.keys.privateKey,
      ),
      `${part({ alg: 'none', typ: 'dbsc+jwt' })}.${part({ jti: challenge })}.`,
      browser.proof(browser.offered),
    ];
    for (const jwt of forged) {
      const reply = await thief.prove(jwt);
      expect([reply.status, reply.setCookie]).to.deep.equal([403, []]);
    }
    expect(site.errors).to.deep.equal([]);
  });

  it('with damaged JWTs and any headers bind nothing, and are never a 5xx', async () => {
    const { site, browser } = await start();
    await browser.get('/login');
    const random = seeded(20_261_126);
    const damage = (text: string): string => {
      const at = Math.floor(random() * text.length);
      const other = String.fromCharCode(33 + Math.floor(random() * 94));
      const kind = Math.floor(random() * 3);
      if (kind === 0) return text.slice(0, at) + (other === text[at] ? '' : other) + text.slice(at + 1);
      return kind === 1 ? text.slice(0, at) : text.slice(0, at) + other + text.slice(at);
    };
    for (let i = 0; i < 300; i++) {
      const reply = await browser.register(damage(browser.registration()));
      expect([reply.status, reply.setCookie]).to.deep.equal([403, []]);
    }
    await browser.register();
    for (let i = 0; i < 300; i++) {
      const headers = {
        'sec-secure-session-id': random() < 0.5 ? browser.id : damage(`"${browser.id}"`),
        'secure-session-response': damage(browser.proof(browser.challenge ?? 'x')),
        'secure-session-skipped': damage(`unreachable;session_identifier="${browser.id}"`),
      };
      const reply = await browser.request('POST', '/device-bound/wsession/refresh', { headers });
      expect(reply.status).to.be.oneOf([200, 403]);
      expect(reply.setCookie).to.deep.equal([]);
      if (reply.status === 200) expect(reply.json().continue).to.equal(false);
    }
    expect([await whoIs(browser), site.errors]).to.deep.equal([BOUND, []]);
  });
});

/** Base64url of the same bytes, in which bits that stand for nothing are set. */
function toOtherForm(text: string): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  return text.slice(0, -1) + alphabet[alphabet.indexOf(text.at(-1) as string) + 1];
}

/** A generator of numbers from 0 to 1, the same each time (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}
