import { once } from 'node:events';
import websockify from 'koa-websocket';
import { addPage, listenOn, say, visitSocket } from './talk.js';

export default async function koaWebsocket(trial) {
  const app = websockify(trial.bareApp());
  const sessions = trial.session(app);
  app.use(sessions);
  addPage(app);
  app.ws.use(sessions);
  app.ws.use((ctx) => listenOn(ctx.websocket, ctx.session));
  const server = app.listen(0, '127.0.0.1');
  await once(server, 'listening');
  trial.defer(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  const visitor = trial.visitor(server);
  await visitSocket(trial, visitor, (cookie, text) => say(visitor.url, cookie, text), 'WSESSION_NO_RESPONSE');
}
