import { tracingChannel } from 'node:diagnostics_channel';
import { type Span, SpanStatusCode, trace } from '@opentelemetry/api';
import type { SessionEvent } from 'koa-wsession';

/** A span for each call to the store. `last`: its last message, `'end'` with MemoryStore and CookieStore. */
export function traceSessions(last: 'end' | 'asyncEnd' = 'asyncEnd'): void {
  const tracer = trace.getTracer('koa-wsession');
  for (const call of ['load', 'save', 'destroy']) {
    const spans = new WeakMap<object, Span>();
    const channels = tracingChannel<SessionEvent>(`koa-wsession:${call}`);
    channels.start.subscribe((message) => {
      const { name, session } = message as SessionEvent;
      spans.set(
        message as object,
        tracer.startSpan(`session ${call}`, {
          attributes: { 'wsession.name': name, 'wsession.ref': session },
        }),
      );
    });
    channels.error.subscribe((message) => {
      const { error } = message as { error: Error };
      spans.get(message as object)?.setStatus({ code: SpanStatusCode.ERROR, message: error.message });
    });
    channels[last].subscribe((message) => spans.get(message as object)?.end());
  }
}
