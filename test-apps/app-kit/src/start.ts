import { once } from 'node:events';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Store, StoreOptions } from 'koa-wsession/store';
import { chooseStore } from './stores.js';

/** What an app makes of a store; `place` says where the sessions are, for people. */
export type Create = (store: Store, place: string) => Listener | Promise<Listener>;

/** A Koa app, or an HTTP server. */
interface Listener {
  listen(port: number): Server;
}

/** The port that PORT names (default: 3000). */
export const PORT: number = Number(process.env.PORT ?? 3000);

/**
 * Starts an app on the store that STORE names (default: files), and on PORT (default: 3000).
 * `SECURE=1`: behind a proxy that ends TLS, sessions only over https.
 */
export async function start(name: string, create: Create, options: StoreOptions = {}): Promise<void> {
  const { app, place } = await createWithStore(create, options);
  const port = await listen(app, PORT);
  console.log(`The ${name} is at http://localhost:${port} (sessions: ${place}).`);
}

/** The app on the store that STORE names. */
export async function createWithStore(
  create: Create,
  options: StoreOptions = {},
): Promise<{ app: Listener; place: string }> {
  const secure = process.env.SECURE === '1';
  const { store, place } = await chooseStore(process.env.STORE ?? 'fs', { ...options, secure });
  return { app: await create(store, place), place };
}

/** Listens on a port, and returns it: 0 stands for any that is free. A port that is in use ends the process. */
export async function listen(app: Listener, wanted: number): Promise<number> {
  const server = app.listen(wanted);
  server.once('error', (error: NodeJS.ErrnoException) => {
    console.error(error.code === 'EADDRINUSE' ? `Port ${wanted} is in use: set PORT to another one.` : error);
    process.exit(1);
  });
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}
