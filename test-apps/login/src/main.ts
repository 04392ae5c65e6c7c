import type { AddressInfo } from 'node:net';
import { chooseStore } from 'app-kit/stores';
import { createLogin, TIMEOUTS } from './app.js';

// Behind a proxy that ends TLS: SECURE=1.
const secure = process.env.SECURE === '1';
const { store, place } = chooseStore(process.env.STORE ?? 'fs', { expire: TIMEOUTS.idle, secure });
const app = await createLogin(store, place);
app.proxy = secure;

const server = app.listen(Number(process.env.PORT ?? 3000), () => {
  const { port } = server.address() as AddressInfo;
  console.log(`The login is at http://localhost:${port} (sessions: ${place}).`);
});
