import { subscribe } from 'node:diagnostics_channel';
import { type Span, SpanStatusCode, trace } from '@opentelemetry/api';
import type { SessionEvent } from 'koa-wsession';

type Call = SessionEvent & { readonly error: Error };

/** A span for each call to the store. */
export function traceSessions(): void {
  const tracer = trace.getTracer('koa-wsession');
  for (const call of ['load', 'save', 'destroy']) {
    const spans = new WeakMap<Call, Span>();
    const on = (step: string, act: (message: Call) => void): void =>
      subscribe(`tracing:koa-wsession:${call}:${step}`, (message) => act(message as Call));

    on('start', (message) => {
      const attributes = { 'wsession.name': message.name, 'wsession.ref': message.session };
      spans.set(message, tracer.startSpan(`session ${call}`, { attributes }));
    });
    on('error', (message) => {
      spans.get(message)?.setStatus({ code: SpanStatusCode.ERROR, message: message.error.message });
    });
    on('asyncEnd', (message) => spans.get(message)?.end());
  }
}
