import type { Settings } from '../kernel/options.js';

/**
 * In production, says once for each session what its cookie lacks (OWASP ASVS 5.0, 3.3.1 and 3.3.3), with the line to
 * write. `process.env` decides, since the defaults have to work on a developer's machine without TLS.
 */
export function warnOfCookie({ store, name, transports }: Settings): void {
  const cookie = transports.find(({ requestHeader }) => requestHeader === 'Cookie');
  if (process.env.NODE_ENV !== 'production' || !cookie) return;
  const isPrefixed = /^__(host|secure|http|host-http)-/i.test(name);
  if (store.secure && isPrefixed) return;
  const isHosts = store.domain === undefined && (cookie.path ?? '/') === '/';
  const better = isPrefixed ? name : `${isHosts ? '__Host-' : '__Secure-'}${name}`;
  const lacks = [!store.secure && 'is sent over plain http, too', !isPrefixed && 'has a name without a prefix'];
  const type = store.constructor.name;
  process.emitWarning(
    `The session cookie ${name} ${lacks.filter(Boolean).join(', and ')}, so that others on the network or on a ` +
      `neighbouring host may set it. Write session(new ${type}(…, { secure: true }), { name: '${better}' }). ` +
      'Behind a proxy that ends TLS, set app.proxy = true as well. (A new name logs everyone out.)',
    { type: 'SecurityWarning', code: 'WSESSION_INSECURE_COOKIE' },
  );
}
