import { RedisStore } from '@koa-wsession/store-redis';
import { Redis } from 'ioredis';
import { session } from 'koa-wsession';
import { useFakeTimers } from 'sinon';
import { createBoundApp } from 'testkit/bound-site';
import { serve } from 'testkit/http';

/* A server behind a proxy that ends TLS. It moves its clock by as many milliseconds as it is told. */

const clock = useFakeTimers({ now: Date.now(), toFake: ['Date'] });
const store = new RedisStore(new Redis(Number(process.argv[2])), { secure: true, expire: 86_400 });
const { port } = await serve(createBoundApp(session(store, { deviceBound: true })));
process.send?.(port);
process.on('message', (milliseconds: number) => {
  clock.tick(milliseconds);
  process.send?.('later');
});
process.once('disconnect', () => process.exit());
