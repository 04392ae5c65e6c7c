import { once } from 'node:events';
import { serve } from 'testkit/http';
import { counterApp } from './app.js';
import { type ClientName, clients } from './support.js';

const [name, port] = process.argv.slice(2) as [ClientName, string];
const store = clients[name]({ port: Number(port) }).store();
const pause = async (): Promise<void> => {
  process.send?.('held');
  await once(process, 'message');
};
const served = await serve(counterApp(store, 5000, pause));
process.send?.(served.port);
process.once('disconnect', () => process.exit());
