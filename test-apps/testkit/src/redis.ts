export { ask, until } from './redis-ask.js';
export { type RedisCluster, startCluster } from './redis-cluster.js';
export { type RedisSentinels, startSentinels } from './redis-sentinel.js';
export { type RedisOptions, type RedisServer, startRedis } from './redis-server.js';
