import { Redis } from 'ioredis';
import { startRedis } from 'testkit/redis';

/** Runs a Redis of its own for as long as `use` takes, and hands it over with a client. */
export async function withRedis(use) {
  const server = await startRedis();
  const client = new Redis(server.port);
  try {
    return await use({ port: server.port, client, server });
  } finally {
    client.disconnect();
    await server.stop();
  }
}
