import type { Awaitable } from '../store/store.js';

/** What the core tells about sessions while it works. Messages hold no token, id or value: sessions appear as hashes. */
export interface Observer {
  /** The message is made only for subscribers. */
  publish(event: SessionEventName, message: () => SessionEvent): void;
  /** Whether calls of this kind are traced. */
  traces(call: TracedCall): boolean;
  /** Runs a call to the store, traced. */
  trace<T>(call: TracedCall, message: SessionEvent, operation: () => Awaitable<T>): Awaitable<T>;
}

/** A message on a channel `koa-wsession:<event>`, and the context of a traced call to the store. */
export interface SessionEvent {
  /** The session's name, as in the options. */
  readonly name: string;
  /**
   * A hash that stands for the session, the same as `sessions.of(ctx).ref`. (Of a store that seals, the trace of the
   * call that makes a token has a hash of its own.)
   */
  readonly session: string;
  /** `rejected`, `expired`: why a token led to no session. */
  readonly reason?: RejectionReason;
  /** `regenerated`: the hash that stood for the session before. */
  readonly from?: string;
}

/**
 * Why a token led to no session. `malformed`, `oversized`: it isn't one of ours. `signature`, `seal`: forged, or made with
 * a secret that isn't in use any more. `unknown`: no record, or the store doesn't say. `replaced`: the session goes on
 * under another id. `expired`; `corrupt`. `unbound`: it is bound to a device, and the request doesn't come from there.
 */
export type RejectionReason =
  | 'malformed'
  | 'oversized'
  | 'signature'
  | 'seal'
  | 'unknown'
  | 'replaced'
  | 'expired'
  | 'corrupt'
  | 'unbound';

/**
 * What can happen to a session: `created`, `renewed` (its expiry was reset), `regenerated`, `destroyed`, `expired` (found
 * so), `gone` (a request came too late to store its changes), `bound` (to the browser's device), `refreshed` (the browser
 * proved that it is still there), `unbound` (its token came without that proof); and to a token: `rejected`.
 */
export type SessionEventName =
  | 'created'
  | 'renewed'
  | 'regenerated'
  | 'destroyed'
  | 'expired'
  | 'gone'
  | 'bound'
  | 'refreshed'
  | 'unbound'
  | 'rejected';

/** Calls to the store, traced as `tracing:koa-wsession:<call>:start`, `:end`, `:asyncStart`, `:asyncEnd`, `:error`. */
export type TracedCall = 'load' | 'save' | 'destroy';
