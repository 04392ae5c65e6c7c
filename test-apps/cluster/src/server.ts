import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { RedisStore } from '@koa-wsession/store-redis';
import { Redis } from 'ioredis';
import { createApp } from './app.js';

/* One of the servers. Its arguments are the ports of the Redis Cluster; it tells its parent its own port. */
const ports = process.argv.slice(2).map(Number);
const redis = new Redis.Cluster(ports, { redisOptions: { socketTimeout: 1000 } }).on('error', () => {});

const server = createServer(createApp(new RedisStore(redis)).callback());
server.listen(0, '127.0.0.1', () => process.send?.((server.address() as AddressInfo).port));

process.once('SIGTERM', async () => {
  const closed = once(server, 'close');
  server.close();
  await closed;
  await redis.quit();
  process.disconnect();
});
process.once('disconnect', () => process.exit());
