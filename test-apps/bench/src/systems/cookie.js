import { CookieStore } from '@koa-wsession/store-cookie';
import { session } from 'koa-wsession';
import { serve } from './koa.js';

export function create({ secret }) {
  return serve([session(new CookieStore(secret))]);
}
