import { RedisStore } from '@koa-wsession/store-redis';
import { nearCache } from 'koa-wsession/near-cache';
import { serveAsWorker } from 'testkit/two-processes';
import { clients, nodeClients } from './support.js';

const [, , version, port, maxAge] = process.argv;
const connect = { ...clients, ...nodeClients }[version as 'ioredis 6'];
await serveAsWorker(nearCache(new RedisStore(connect(Number(port))), { maxAge: Number(maxAge) }));
