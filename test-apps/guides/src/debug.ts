import { subscribe } from 'node:diagnostics_channel';
import type { SessionEvent } from 'koa-wsession';

const EVENTS = 'created renewed regenerated destroyed expired gone bound refreshed unbound rejected'.split(' ');
const CALLS = ['load', 'save', 'destroy'];

/** Writes a line for each event, and for each call to the store: `koa-wsession rejected wsession (unknown)`. */
export function debugSessions(write: (line: string) => void = console.error): void {
  const on = (channel: string, event: string): void =>
    subscribe(channel, (message) => {
      const { name, session = '', reason, error } = message as SessionEvent & { error?: Error };
      const why = reason ?? error?.message;
      write(['koa-wsession', event, name, session.slice(0, 8), why && `(${why})`].filter(Boolean).join(' '));
    });
  for (const event of EVENTS) on(`koa-wsession:${event}`, event);
  for (const call of CALLS) {
    on(`tracing:koa-wsession:${call}:start`, `${call} …`);
    on(`tracing:koa-wsession:${call}:asyncEnd`, call);
  }
}
