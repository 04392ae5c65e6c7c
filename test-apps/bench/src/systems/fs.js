import { FsStore } from '@koa-wsession/store-fs';
import { session } from 'koa-wsession';
import { serve } from './koa.js';

export function create({ directory }) {
  return serve([session(new FsStore({ directory }))]);
}
