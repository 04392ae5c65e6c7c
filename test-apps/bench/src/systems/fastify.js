import createFastify from 'fastify';
import { answer } from '../works.js';

/** Fastify alone, and the base of the system on Fastify. */
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
