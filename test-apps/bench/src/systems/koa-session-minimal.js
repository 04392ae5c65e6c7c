import session from 'koa-session-minimal';
import { serve } from './koa.js';

/** With the store that it has itself: the process's memory. */
export function create() {
  return serve([session({ cookie: { maxAge: 3_600_000 } })]);
}
