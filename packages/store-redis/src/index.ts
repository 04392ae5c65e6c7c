export type { RedisLike } from './connection.js';
export type { IoredisLike } from './ioredis.js';
export type { NodeRedisLike } from './node-redis.js';
export { RedisStore, type RedisStoreOptions } from './redis-store.js';
