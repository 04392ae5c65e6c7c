export * from './errors.js';
export { SessionControls } from './features/controls.js';
export type { LogInOptions } from './features/login.js';
export type { LogOutOptions, SiteData } from './features/logout.js';
export type { OwnedSession, Owner, SidFinder } from './features/owners.js';
export type { OpenOptions } from './kernel/middleware.js';
export type { RejectionReason, SessionEvent, SessionEventName, TracedCall } from './kernel/observer.js';
export type {
  DeviceBoundOptions,
  MaxSessions,
  Migrate,
  SessionOptions,
  TransportOption,
} from './kernel/options.js';
export type { Signer } from './kernel/token.js';
export { headerTransport, type Transport } from './kernel/transport.js';
export { type RevokeOptions, type Sessions, session, session as default } from './sessions.js';
// By `*`: only so can an app's `declare module 'koa-wsession'` merge into SessionData.
export * from './types.js';
