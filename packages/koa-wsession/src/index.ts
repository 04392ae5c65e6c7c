export { check as checkOption } from './check.js';
export * from './errors.js';
export type { RejectionReason, SessionEvent, SessionEventName, TracedCall } from './events.js';
export { type Sessions, session, session as default } from './middleware.js';
export type { OpenOptions } from './open.js';
export {
  type Adopt,
  checkStoreOptions,
  type SessionOptions,
  type StoreOptions,
  type TransportOption,
} from './options.js';
export type { OwnedSession, RevokeOptions } from './owners.js';
export { applyChanges, findConflict, openRecord, packRecord, unpackRecord } from './record.js';
export type * from './store.js';
export type { Signer } from './token.js';
export { headerTransport, type Transport } from './transport.js';
// By `*`: only so can an app's `declare module 'koa-wsession'` merge into SessionData.
export * from './types.js';
