import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Store, StoreOptions } from 'koa-wsession/store';
import { chooseStore } from './stores.js';

/** What an app makes of a store; `place` says where the sessions are, for people. */
type Create = (store: Store, place: string) => Listener | Promise<Listener>;

/** A Koa app, or an HTTP server. */
interface Listener {
  listen(port: number, listening: () => void): Server;
}

/**
 * Starts an app on the store that STORE names (default: files), and on PORT (default: 3000).
 * `SECURE=1`: behind a proxy that ends TLS, sessions only over https.
 */
export async function start(name: string, create: Create, options: StoreOptions = {}): Promise<void> {
  const secure = process.env.SECURE === '1';
  const { store, place } = await chooseStore(process.env.STORE ?? 'fs', { ...options, secure });
  const app = await create(store, place);
  const wanted = Number(process.env.PORT ?? 3000);
  const server = app.listen(wanted, () => {
    const { port } = server.address() as AddressInfo;
    console.log(`The ${name} is at http://localhost:${port} (sessions: ${place}).`);
  });
  server.once('error', (error: NodeJS.ErrnoException) => {
    console.error(error.code === 'EADDRINUSE' ? `Port ${wanted} is in use: set PORT to another one.` : error);
    process.exit(1);
  });
}
