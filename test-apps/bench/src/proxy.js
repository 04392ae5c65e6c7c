import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { commandCounter, queryCounter } from './protocols.js';

const COUNTERS = { redis: commandCounter, postgres: queryCounter };

/**
 * @typedef {object} Traffic with a database server
 * @property {number} trips round trips: how often a client sent something after the server had answered what it sent before
 * @property {number} commands of Redis, or queries of Postgres
 * @property {number} bytesSent to the server
 * @property {number} bytesReceived from it
 */

/**
 * Runs `use` with a port that leads to a database server, and counts what passes through it. The connection on which
 * Redis announces changes is left out, as no request waits for it.
 *
 * @template T
 * @param {{ port: number, kind: 'redis' | 'postgres', delay?: number }} server `delay`: milliseconds by which each reply is late
 * @param {(proxy: { port: number, totals(): Traffic }) => Promise<T>} use
 */
export async function withProxy({ port, kind, delay = 0 }, use) {
  const connections = new Set();
  const proxy = createServer((client) => {
    connections.add(forward(client, connect({ port, host: '127.0.0.1', noDelay: true }), COUNTERS[kind], delay));
  }).listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  const totals = () => {
    const sum = { trips: 0, commands: 0, bytesSent: 0, bytesReceived: 0 };
    for (const { traffic, announces } of connections)
      if (!announces) for (const name of Object.keys(sum)) sum[name] += traffic[name];
    return sum;
  };
  try {
    return await use({ port: proxy.address().port, totals });
  } finally {
    proxy.close();
    for (const { close } of connections) close();
  }
}

function forward(client, server, counter, delay) {
  const traffic = { trips: 0, commands: 0, bytesSent: 0, bytesReceived: 0 };
  const close = () => [client, server].map((socket) => socket.destroy());
  const connection = { traffic, announces: false, close };
  let isAnswered = true;
  const count = counter(() => {
    traffic.commands += 1;
  });
  client.setNoDelay();
  client.on('data', (bytes) => {
    if (isAnswered) traffic.trips += 1;
    isAnswered = false;
    traffic.bytesSent += bytes.length;
    connection.announces ||= bytes.length < 500 && bytes.includes('tracking');
    count(bytes);
    server.write(bytes);
  });
  server.on('data', (bytes) => {
    isAnswered = true;
    traffic.bytesReceived += bytes.length;
    if (delay > 0) setTimeout(() => client.write(bytes), delay);
    else client.write(bytes);
  });
  for (const socket of [client, server]) socket.on('error', () => {}).once('close', close);
  return connection;
}
