import { subscribe } from 'node:diagnostics_channel';
import type { SessionEvent } from 'koa-wsession';
import { Counter } from 'prom-client';

const EVENTS = [
  'created',
  'renewed',
  'regenerated',
  'destroyed',
  'expired',
  'gone',
  'bound',
  'refreshed',
  'unbound',
  'rejected',
];

/** Counts what happens to sessions, in the metric `sessions_total`. */
export function countSessions(): void {
  const counter = new Counter({
    name: 'sessions_total',
    help: 'What happened to sessions',
    labelNames: ['name', 'event', 'reason'],
  });
  for (const event of EVENTS) {
    subscribe(`koa-wsession:${event}`, (message) => {
      const { name, reason = '' } = message as SessionEvent;
      counter.inc({ name, event, reason });
    });
  }
}
