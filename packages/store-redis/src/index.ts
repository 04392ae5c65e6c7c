export type { RedisLike } from './client.js';
export { RedisStore, type RedisStoreOptions } from './redis-store.js';
