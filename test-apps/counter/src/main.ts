import type { AddressInfo } from 'node:net';
import { chooseStore } from 'app-kit/stores';
import { createApp } from './app.js';

const { store, place } = chooseStore(process.env.STORE ?? 'fs');

const server = createApp(store, place).listen(Number(process.env.PORT ?? 3000), () => {
  const { port } = server.address() as AddressInfo;
  console.log(`The counter is at http://localhost:${port} (sessions: ${place}).`);
});
