import { once } from 'node:events';
import { Server } from 'socket.io';
import { io } from 'socket.io-client';
import { addPage, answer, visitSocket } from './talk.js';

export default async function socketIo(trial, transport) {
  const app = trial.bareApp();
  const sessions = trial.session(app);
  app.use(sessions);
  addPage(app);
  const server = await trial.serve(app);
  const sockets = new Server(server);
  trial.defer(() => sockets.disconnectSockets(true));
  sockets.use(async (socket, next) => {
    socket.data.session = await trial.open(sessions, app, socket.request);
    next();
  });
  sockets.on('connection', (socket) => {
    socket.on('say', async (message, reply) => reply(await answer(socket.data.session, message)));
  });

  const visitor = trial.visitor(server);
  const say = async (cookie, message) => {
    const client = io(visitor.url, { transports: [transport], extraHeaders: cookie ? { cookie } : {}, forceNew: true });
    try {
      await once(client, 'connect');
      return await client.timeout(30_000).emitWithAck('say', message);
    } finally {
      client.disconnect();
    }
  };
  await visitSocket(trial, visitor, say, 'WSESSION_NO_RESPONSE');
}
