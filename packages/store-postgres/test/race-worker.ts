import { serveAsWorker } from 'testkit/two-processes';
import { type ClientName, clients } from './support.js';

const [name, port] = process.argv.slice(2) as [ClientName, string];
await serveAsWorker(clients[name]({ port: Number(port) }).store());
