export type { Secret } from 'koa-wsession/store';
export { CookieStore, type CookieStoreOptions } from './cookie-store.js';
