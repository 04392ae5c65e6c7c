import { RedisStore } from '@koa-wsession/store-redis';
import { Redis } from 'ioredis';
import { serveAsWorker } from 'testkit/two-processes';

await serveAsWorker(new RedisStore(new Redis(Number(process.argv[2]))));
