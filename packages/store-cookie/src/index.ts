export { CookieStore, type CookieStoreOptions } from './cookie-store.js';
export type { Secret } from './secrets.js';
