export { ask, until } from './redis-ask.js';
export { type RedisCluster, startCluster } from './redis-cluster.js';
export { type RedisSentinels, startSentinels } from './redis-sentinel.js';
export { hasRedis, type RedisOptions, type RedisServer, startRedis } from './redis-server.js';
