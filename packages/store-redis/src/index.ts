export type { RedisLike } from './client.js';
export type { IoredisLike } from './ioredis.js';
export type { NodeRedisArguments, NodeRedisLike } from './node-redis.js';
export { RedisStore, type RedisStoreOptions } from './redis-store.js';
