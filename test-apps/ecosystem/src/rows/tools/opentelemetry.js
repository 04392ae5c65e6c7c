import { createRequire } from 'node:module';
import { trace } from '@opentelemetry/api';
import { registerInstrumentations } from '@opentelemetry/instrumentation';
import { HttpInstrumentation } from '@opentelemetry/instrumentation-http';
import { IORedisInstrumentation } from '@opentelemetry/instrumentation-ioredis';
import { KoaInstrumentation } from '@opentelemetry/instrumentation-koa';
import { InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { NodeTracerProvider } from '@opentelemetry/sdk-trace-node';
import { expect } from 'chai';
import { count } from '../../counter.js';

const require = createRequire(import.meta.url);

/**
 * Many visitors at once, whose sessions are loaded and stored in between: each span is in the trace of its own request,
 * also those after the session was waited for, and those of the Redis commands.
 */
export default async function opentelemetry(trial) {
  const exporter = new InMemorySpanExporter();
  new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }).register();
  registerInstrumentations({
    instrumentations: [new HttpInstrumentation(), new KoaInstrumentation(), new IORedisInstrumentation()],
  });
  for (const name of ['http', 'koa']) require(name); // the instrumentations hook into `require`

  const app = trial.bareApp();
  app.use(trial.session(app, { connect: require('../../../fixtures/ioredis-5').connect }));
  app.use(async function countVisit(ctx) {
    count(ctx);
    if (trial.isOurs) await ctx.session.save();
    trace.getTracer('app').startSpan('handler').setAttribute('visitor', ctx.query.visitor).end();
    ctx.body = String(ctx.session.count);
  });
  const server = await trial.serve(app);
  const visitors = Array.from({ length: 8 }, () => trial.visitor(server));
  const visit = (visitor, i) => visitor.get(`/?visitor=${i}`);
  await Promise.all(visitors.map(visit));
  exporter.reset();
  const bodies = (await Promise.all(visitors.map(visit))).map(({ body }) => body);
  expect(bodies).to.deep.equal(visitors.map(() => '2'));

  const spans = exporter.getFinishedSpans();
  const requests = spans.filter(({ kind, attributes }) => kind === 1 && attributes['http.method']);
  expect(requests.map(({ attributes }) => attributes['http.target'])).to.have.members(
    visitors.map((_, i) => `/?visitor=${i}`),
  );
  for (const request of requests) checkTrace(trial, request, spans);
}

function checkTrace(trial, request, spans) {
  const { traceId } = request.spanContext();
  const own = spans.filter((span) => span.spanContext().traceId === traceId);
  const visitor = request.attributes['http.target'].at(-1);
  const handlers = own.filter(({ name }) => name === 'handler');
  expect(handlers.map(({ attributes }) => attributes.visitor)).to.deep.equal([visitor]);
  const middleware = own.filter(({ attributes }) => attributes['koa.type'] === 'middleware').map(({ name }) => name);
  expect(middleware).to.have.length(2).and.to.include('middleware - countVisit');
  const commands = own.filter(({ attributes }) => attributes['db.system'] === 'redis').length;
  if (trial.usesRedis) expect(commands, 'spans of Redis commands').to.be.greaterThan(0);
}
