import session from 'koa-session-minimal';
import { serve } from './koa.js';

/** With its own store: the process's memory. */
export function create() {
  return serve([session({ cookie: { maxAge: 3_600_000 } })]);
}
