import { WebSocketServer } from 'ws';
import { addPage, listenOn, say, visitSocket } from './talk.js';

export default async function ws(trial) {
  const app = trial.bareApp();
  const sessions = trial.session(app);
  app.use(sessions);
  addPage(app);
  const server = await trial.serve(app);
  const sockets = new WebSocketServer({ noServer: true });
  server.on('upgrade', async (request, socket, head) => {
    const session = await trial.open(sessions, app, request);
    sockets.handleUpgrade(request, socket, head, (client) => listenOn(client, session));
  });
  const visitor = trial.visitor(server);
  await visitSocket(trial, visitor, (cookie, text) => say(visitor.url, cookie, text), 'WSESSION_NO_RESPONSE');
}
