import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';

/** Values that should come back unchanged. */
const VALUES = {
  Date: new Date(0),
  Map: new Map([['a', 1]]),
  BigInt: 12345678901234567890n,
  undefined: undefined,
};

export const TYPES = Object.keys(VALUES);

/** Holds a request until another request releases it. */
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
 * @typedef {object} Exchange
 * @property {any} session of the system; read only where it is needed
 * @property {() => unknown} end logs out, as the system's README says
 * @property {() => unknown} [save] for a system that saves only on request
 *
 * @param {string} path
 * @param {Exchange} exchange
 * @returns {Promise<string>} the response's body
 */
export async function handle(path, exchange) {
  const [, action, argument] = path.split('/');
  switch (action) {
    case 'untouched':
      return 'untouched';
    case 'me':
      return exchange.session.user ?? 'nobody';
    case 'keys':
      return String(Object.keys(exchange.session).filter((key) => key.startsWith('key-')).length);
    case 'login':
      exchange.session.user = 'ada';
      await exchange.save?.();
      return 'ok';
    case 'logout':
      await exchange.end();
      return 'ok';
    case 'set-slowly':
      exchange.session[`key-${argument}`] = argument;
      await delay(100);
      await exchange.save?.();
      return 'ok';
    case 'hold':
      exchange.session.seen = argument;
      held.begun.resolve();
      await held.released.promise;
      await exchange.save?.();
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
      exchange.session.user = argument;
      await exchange.save?.();
      throw Object.assign(new Error('no'), { status: 401, statusCode: 401, expose: true });
    case 'fill':
      exchange.session.user = randomBytes(Number(argument) / 2).toString('hex');
      await exchange.save?.();
      return 'ok';
    case 'keep':
      exchange.session.value = VALUES[argument];
      exchange.session.kept = true;
      await exchange.save?.();
      return 'ok';
    case 'kept': {
      if (!exchange.session.kept) return 'lost';
      if (!('value' in exchange.session)) return 'key gone';
      const { value } = exchange.session;
      if (isDeepStrictEqual(value, VALUES[argument])) return 'same';
      return value === null ? 'null' : typeof value === 'object' ? JSON.stringify(value) : typeof value;
    }
    default:
      throw new Error(`There is no ${path}.`);
  }
}
