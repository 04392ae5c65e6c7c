import { channel, type TracingChannel, tracingChannel } from 'node:diagnostics_channel';
import type { Awaitable } from './store.js';

/*
 * What happens to sessions, for whoever listens on node:diagnostics_channel. Nothing of it costs anything where nobody
 * does, and no message holds a token, an id or a value: sessions appear as hashes.
 */

/** A message on a channel `koa-wsession:<event>`, and the context of a traced call to the store. */
export interface SessionEvent {
  /** The session's name, as in the options. */
  readonly name: string;
  /**
   * A hash that stands for the session: its address, or with a store that seals, a hash of the token. (The trace of a
   * call that makes the token has a hash that no other message has.)
   */
  readonly session: string;
  /** `rejected`: why a token led to no session. */
  readonly reason?: RejectionReason;
  /** `regenerated`: the hash that stood for the session before. */
  readonly from?: string;
}

/**
 * Why a token led nowhere. `malformed`, `oversized`: it can't be ours. `signature`, `seal`: forged, or made with a secret
 * that isn't in use any more. `unknown`: no record, or its store doesn't say. `expired`; `corrupt`.
 */
export type RejectionReason =
  | 'malformed'
  | 'oversized'
  | 'signature'
  | 'seal'
  | 'unknown'
  | 'expired'
  | 'corrupt';

/**
 * What can happen to a session: `created`, `renewed` (its expiration was reset), `regenerated`, `destroyed`,
 * `expired` (found so), `gone` (a request came too late to store its changes); and to a token: `rejected`.
 */
export type SessionEventName =
  | 'created'
  | 'renewed'
  | 'regenerated'
  | 'destroyed'
  | 'expired'
  | 'gone'
  | 'rejected';

/** Calls to the store that can be traced, as `tracing:koa-wsession:<call>:start`, `:end`, `:asyncStart`, `:asyncEnd`, `:error`. */
export type TracedCall = 'load' | 'save' | 'destroy';

const events = {
  created: channel('koa-wsession:created'),
  renewed: channel('koa-wsession:renewed'),
  regenerated: channel('koa-wsession:regenerated'),
  destroyed: channel('koa-wsession:destroyed'),
  expired: channel('koa-wsession:expired'),
  gone: channel('koa-wsession:gone'),
  rejected: channel('koa-wsession:rejected'),
};

const traces: Record<TracedCall, TracingChannel<SessionEvent>> = {
  load: tracingChannel('koa-wsession:load'),
  save: tracingChannel('koa-wsession:save'),
  destroy: tracingChannel('koa-wsession:destroy'),
};

/** The message is only made where somebody listens. */
export function announce(event: SessionEventName, message: () => SessionEvent): void {
  if (events[event].hasSubscribers) events[event].publish(message());
}

/** Whether somebody listens to these calls. */
export function isTraced(call: TracedCall): boolean {
  return traces[call].hasSubscribers;
}

/** Runs a call to the store between the messages of its tracing channel. */
export function trace<T>(
  call: TracedCall,
  message: SessionEvent & { error?: unknown },
  operation: () => Awaitable<T>,
): Awaitable<T> {
  // Not tracing.tracePromise: it would publish the answer, which holds tokens and values.
  const { start, end, asyncStart, asyncEnd, error } = traces[call];
  const fail = (problem: unknown): never => {
    message.error = problem;
    error.publish(message);
    throw problem;
  };
  const settle = (): void => {
    asyncStart.publish(message);
    asyncEnd.publish(message);
  };
  return start.runStores(message, () => {
    let waits = false;
    try {
      const answer = operation();
      if (!(answer instanceof Promise)) return answer;
      waits = true;
      return answer.catch(fail).finally(settle);
    } catch (problem) {
      return fail(problem);
    } finally {
      end.publish(message);
      if (!waits) settle(); // so that one message is the last, whatever the store
    }
  });
}
