import { RedisStore } from '@koa-wsession/store-redis';
import { Redis } from 'ioredis';
import { session } from 'koa-wsession';
import { nearCache } from 'koa-wsession/near-cache';
import { serve } from './koa.js';

/** `maxAge`: the counts are taken with the longest, so that a slow machine changes none of them. */
export function create({ redisPort, maxAge = 1000 }) {
  return serve([session(nearCache(new RedisStore(new Redis(redisPort)), { maxAge }))]);
}
