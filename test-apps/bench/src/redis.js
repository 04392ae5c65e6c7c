import { Redis } from 'ioredis';
import { startRedis } from 'testkit/redis';

/** Runs `use` with a new Redis server and a client of it. */
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
