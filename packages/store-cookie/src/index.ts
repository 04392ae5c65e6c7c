export { CookieStore } from './cookie-store.js';
export type { Secret } from './secrets.js';
