import { CookieStore } from '@koa-wsession/store-cookie';
import { conformance } from 'koa-wsession/conformance';

conformance(
  { describe, it, afterEach },
  {
    name: 'CookieStore',
    create: (options) => new CookieStore('the secret of the conformance suite', options),
    capabilities: { seals: true, merges: false, revokes: false },
  },
);
