export * from './errors.js';
export { session, session as default } from './middleware.js';
export {
  check as checkOption,
  checkStoreOptions,
  type SessionOptions,
  type StoreOptions,
} from './options.js';
export { applyChanges, findConflict, openRecord, packRecord, unpackRecord } from './record.js';
export type * from './store.js';
export type { Signer } from './token.js';
// By `*`: only so can an app's `declare module 'koa-wsession'` merge into SessionData.
export * from './types.js';
