import { session } from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import { serve } from './koa.js';

export function create() {
  return serve([session(new MemoryStore())]);
}
