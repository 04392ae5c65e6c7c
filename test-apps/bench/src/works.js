import { createHash } from 'node:crypto';

/** The session of every visitor: ten keys, 300 bytes as JSON. */
export const CONTENT = Object.freeze({
  userId: 48213,
  name: 'Ada Lovelace',
  email: 'adalovelace@mail.example.com',
  roles: ['editor', 'reviewer'],
  theme: 'dark',
  language: 'en-GB',
  timeZone: 'Europe/London',
  csrfToken: 'Zx8mQ2kT7vLw4RcN9bYp1HsDgE5jUa0f',
  counter: 100,
  cart: [
    { sku: 'A-10012', quantity: 2 },
    { sku: 'B-20025', quantity: 1 },
  ],
});

/** What the key `big` can hold: texts of 100 KB that begin with their own number. */
const BIG = Array.from({ length: 16 }, (_, index) => {
  const noise = createHash('shake256', { outputLength: 75_000 }).update(String(index));
  return `${String(index).padStart(2, '0')} ${noise.digest('base64').slice(3)}`;
});

/**
 * @typedef {object} Work
 * @property {string} id
 * @property {string} title
 * @property {'none' | '/fill' | '/fill-big'} before what a visitor requests first, to have a session
 * @property {(n: number) => string} path of a visitor's n-th request, from 1
 * @property {(n: number) => string} body that the response must have
 * @property {(n: number) => { path: string, body: string }} [proof] shows that the n-th request was stored
 */

/** @type {Work[]} */
export const WORKS = [
  {
    id: 'new',
    title: 'not touched, no cookie',
    before: 'none',
    path: () => '/untouched',
    body: () => 'untouched',
  },
  {
    id: 'untouched',
    title: 'not touched, cookie sent',
    before: '/fill',
    path: () => '/untouched',
    body: () => 'untouched',
    proof: () => ({ path: '/read', body: CONTENT.name }),
  },
  {
    id: 'read',
    title: 'read one key',
    before: '/fill',
    path: () => '/read',
    body: () => CONTENT.name,
  },
  {
    id: 'counter',
    title: 'the counter',
    before: '/fill',
    path: () => '/counter',
    body: (n) => String(CONTENT.counter + n),
    proof: (n) => ({ path: '/read-counter', body: String(CONTENT.counter + n) }),
  },
  {
    id: 'read-big',
    title: 'read one key of 100 KB',
    before: '/fill-big',
    path: () => '/read-big',
    body: () => describeBig(BIG[0]),
  },
  {
    id: 'write-big',
    title: 'write one key of 100 KB',
    before: '/fill-big',
    path: (n) => `/write-big/${n % BIG.length}`,
    body: (n) => describeBig(BIG[n % BIG.length]),
    proof: (n) => ({ path: '/read-big', body: describeBig(BIG[n % BIG.length]) }),
  },
];

/**
 * What every system's handler does. It reads `owner.session` only where the work needs it, since some systems begin to
 * work when it is read.
 *
 * @param {string} url
 * @param {{ session: any }} owner Koa's context, Express' or Fastify's request
 * @returns {string} the response's body
 */
export function answer(url, owner) {
  switch (url) {
    case '/untouched':
      return 'untouched';
    case '/read':
      return owner.session.name;
    case '/counter':
      owner.session.counter += 1;
      return String(owner.session.counter);
    case '/read-big':
      return describeBig(owner.session.big);
    case '/read-counter':
      return String(owner.session.counter);
    case '/fill':
      Object.assign(owner.session, CONTENT);
      return 'filled';
    case '/fill-big':
      Object.assign(owner.session, CONTENT, { big: BIG[0] });
      return 'filled';
    default: {
      const value = bigOf(url);
      owner.session.big = value;
      return describeBig(value);
    }
  }
}

/** The text that `/write-big/N` writes. */
export function bigOf(url) {
  const value = url.startsWith('/write-big/') ? BIG[Number(url.slice('/write-big/'.length))] : undefined;
  if (value === undefined) throw new Error(`There is no work ${url}.`);
  return value;
}

export function describeBig(value) {
  return `${value.slice(0, 2)} of ${value.length}`;
}
