import createFastify from 'fastify';
import { answer } from '../works.js';

/** Fastify and nothing else, and what the system on Fastify is made of. */
export function create() {
  return serveFastify();
}

export async function serveFastify(plugin, options) {
  const app = createFastify();
  if (plugin) app.register(plugin, options);
  app.get('*', (request, reply) => {
    reply.send(answer(request.url, request));
  });
  await app.ready();
  return app.server;
}
