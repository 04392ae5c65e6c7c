import { RedisStore } from '@koa-wsession/store-redis';
import { Redis } from 'ioredis';
import { serve } from 'testkit/http';
import { counterApp } from './app.js';

/* A process of its own that serves the app, and tells where. */
const redis = new Redis(Number(process.argv[2]));
const served = await serve(counterApp(new RedisStore(redis)));
process.send?.(served.port);
process.once('disconnect', () => process.exit());
