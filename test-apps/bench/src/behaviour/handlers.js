import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';

/** What has to come back as it was. */
const VALUES = {
  Date: new Date(0),
  Map: new Map([['a', 1]]),
  BigInt: 12345678901234567890n,
  undefined: undefined,
};

export const TYPES = Object.keys(VALUES);

/** Holds a request at work until another request lets it go on. */
const held = { begun: withResolvers(), released: withResolvers() };

/** Promise.withResolvers, for Node 20. */
function withResolvers() {
  let resolve;
  const promise = new Promise((done) => {
    resolve = done;
  });
  return { promise, resolve };
}

/**
 * What every system's app does.
 *
 * @typedef {object} Visit
 * @property {any} session as the system gives it: looked at only by who needs it
 * @property {() => unknown} end what the system's README calls logging out
 * @property {() => unknown} [save] for a system that saves when it is told to
 *
 * @param {string} path
 * @param {Visit} visit
 * @returns {Promise<string>} the response's body
 */
export async function handle(path, visit) {
  const [, action, argument] = path.split('/');
  switch (action) {
    case 'untouched':
      return 'untouched';
    case 'me':
      return visit.session.user ?? 'nobody';
    case 'keys':
      return String(Object.keys(visit.session).filter((key) => key.startsWith('key-')).length);
    case 'login':
      visit.session.user = 'ada';
      await visit.save?.();
      return 'ok';
    case 'logout':
      await visit.end();
      return 'ok';
    case 'set-slowly':
      visit.session[`key-${argument}`] = argument;
      await delay(100);
      await visit.save?.();
      return 'ok';
    case 'hold':
      visit.session.seen = argument;
      held.begun.resolve();
      await held.released.promise;
      await visit.save?.();
      return 'ok';
    case 'begun':
      await held.begun.promise;
      return 'ok';
    case 'release':
      held.released.resolve();
      held.begun = withResolvers();
      held.released = withResolvers();
      return 'ok';
    case 'fail':
      visit.session.user = argument;
      await visit.save?.();
      throw Object.assign(new Error('no'), { status: 401, statusCode: 401, expose: true });
    case 'fill':
      visit.session.user = randomBytes(Number(argument) / 2).toString('hex');
      await visit.save?.();
      return 'ok';
    case 'keep':
      visit.session.value = VALUES[argument];
      visit.session.kept = true;
      await visit.save?.();
      return 'ok';
    case 'kept': {
      if (!visit.session.kept) return 'lost';
      if (!('value' in visit.session)) return 'key gone';
      const { value } = visit.session;
      if (isDeepStrictEqual(value, VALUES[argument])) return 'same';
      return value === null ? 'null' : typeof value === 'object' ? JSON.stringify(value) : typeof value;
    }
    default:
      throw new Error(`There is no ${path}.`);
  }
}
