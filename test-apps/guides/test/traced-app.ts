/* An app with both guides, in a process of its own. It prints its port; `/spans` and `/metrics` show what was recorded. */
import type { AddressInfo } from 'node:net';
import { CookieStore } from '@koa-wsession/store-cookie';
import { FsStore } from '@koa-wsession/store-fs';
import { RedisStore } from '@koa-wsession/store-redis';
import { context, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { countSessions } from 'guides/metrics';
import { traceSessions } from 'guides/tracing';
import { Redis } from 'ioredis';
import Koa from 'koa';
import { session } from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import { register } from 'prom-client';

const [store = '', place = ''] = process.argv.slice(2);

function createStore() {
  if (store === 'memory') return new MemoryStore();
  if (store === 'cookie') return new CookieStore('a secret of at least thirty-two bytes');
  if (store === 'fs') return new FsStore({ directory: place });
  const redis = new Redis(place);
  redis.on('error', () => undefined);
  return new RedisStore(redis);
}

const exporter = new InMemorySpanExporter();
trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }));
context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
traceSessions();
countSessions();

const app = new Koa();
app.silent = true;

app.use(async (ctx, next) => {
  if (ctx.path === '/metrics') ctx.body = await register.metrics();
  else if (ctx.path === '/spans') {
    ctx.body = exporter.getFinishedSpans().map((span) => ({
      name: span.name,
      attributes: span.attributes,
      status: span.status,
      events: span.events,
      id: span.spanContext().spanId,
      parent: span.parentSpanContext?.spanId,
    }));
    exporter.reset();
  } else return next();
});

const tracer = trace.getTracer('app');
app.use((ctx, next) => tracer.startActiveSpan(`${ctx.method} ${ctx.path}`, (span) => next().finally(() => span.end())));
const sessions = session(createStore(), { timeout: 500 });
app.use(sessions);
app.use(async (ctx) => {
  if (ctx.path === '/write') ctx.session.user = 'a value to hide';
  if (ctx.path === '/regenerate') await ctx.session.regenerate();
  if (ctx.path === '/logout') await sessions.of(ctx).logOut();
  ctx.body = ctx.session.user ?? 'nobody';
});

const server = app.listen(0, '127.0.0.1', () => {
  console.log((server.address() as AddressInfo).port);
});
