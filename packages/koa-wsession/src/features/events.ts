import { channel, type TracingChannel, tracingChannel } from 'node:diagnostics_channel';
import type { Observer, SessionEvent, SessionEventName, TracedCall } from '../kernel/observer.js';

/* Publishes what happens to sessions on node:diagnostics_channel. It costs nothing without subscribers. */

const events = {
  created: channel('koa-wsession:created'),
  renewed: channel('koa-wsession:renewed'),
  regenerated: channel('koa-wsession:regenerated'),
  destroyed: channel('koa-wsession:destroyed'),
  expired: channel('koa-wsession:expired'),
  gone: channel('koa-wsession:gone'),
  bound: channel('koa-wsession:bound'),
  refreshed: channel('koa-wsession:refreshed'),
  unbound: channel('koa-wsession:unbound'),
  rejected: channel('koa-wsession:rejected'),
} satisfies Record<SessionEventName, unknown>;

const traces: Record<TracedCall, TracingChannel<SessionEvent>> = {
  load: tracingChannel('koa-wsession:load'),
  save: tracingChannel('koa-wsession:save'),
  destroy: tracingChannel('koa-wsession:destroy'),
};

export const diagnostics: Observer = {
  publish(event, message) {
    if (events[event].hasSubscribers) events[event].publish(message());
  },

  traces: (call) => traces[call].hasSubscribers,

  trace(call, event, operation) {
    // Not tracing.tracePromise: it would publish the answer, which holds tokens and values.
    const { start, end, asyncStart, asyncEnd, error } = traces[call];
    const message: SessionEvent & { error?: unknown } = event;
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
  },
};
