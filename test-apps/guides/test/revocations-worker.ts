import { CookieStore } from '@koa-wsession/store-cookie';
import { RedisStore } from '@koa-wsession/store-redis';
import { Redis } from 'ioredis';
import { serveAsWorker } from 'testkit/two-processes';

const revocations = new RedisStore(new Redis(Number(process.argv[2])), { prefix: 'revoked:' });
await serveAsWorker(new CookieStore('a secret of at least thirty-two bytes', { revocations }));
