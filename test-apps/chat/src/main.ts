import type { AddressInfo } from 'node:net';
import { FsStore } from '@koa-wsession/store-fs';
import { createChat } from './app.js';

const server = createChat(new FsStore()).listen(Number(process.env.PORT ?? 3000), () => {
  console.log(`The chat is at http://localhost:${(server.address() as AddressInfo).port}.`);
});
