import { RedisStore } from '@koa-wsession/store-redis';
import { Redis } from 'ioredis';
import { session } from 'koa-wsession';
import { serve } from './koa.js';

export function create({ redisPort }) {
  return serve([session(new RedisStore(new Redis(redisPort)))]);
}
