import { hasPrefix, type Settings } from '../kernel/options.js';

/**
 * In production, says once for each session what its cookie lacks (OWASP ASVS 5.0, 3.3.1 and 3.3.3), with the line to
 * write. `process.env` decides, since the defaults have to work on a developer's machine without TLS.
 */
export function warnOfCookie({ store, name, attributes, transports }: Settings): void {
  const isCookie = transports.some(({ requestHeader }) => requestHeader === 'Cookie');
  // A name with a prefix lacks nothing: it is refused without `secure`.
  if (process.env.NODE_ENV !== 'production' || !isCookie || hasPrefix(name)) return;
  const prefix = attributes.domain === undefined && attributes.path === '/' ? '__Host-' : '__Secure-';
  process.emitWarning(
    `The session cookie ${name} ${store.secure ? '' : 'is sent over plain http, too, and '}has a name without a ` +
      'prefix, so that others on the network or on a neighbouring host may set it. ' +
      `Write session(new ${store.constructor.name}(…, { secure: true }), { name: '${prefix}${name}' }). ` +
      'Behind a proxy that ends TLS, set app.proxy = true as well. (A new name logs everyone out.)',
    { type: 'SecurityWarning', code: 'WSESSION_INSECURE_COOKIE' },
  );
}
