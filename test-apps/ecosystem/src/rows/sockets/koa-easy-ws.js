import websocket from 'koa-easy-ws';
import { addPage, listenOn, say, visitSocket } from './talk.js';

export default async function koaEasyWs(trial) {
  const app = trial.app();
  app.use(websocket());
  app.use(async (ctx, next) => {
    if (!ctx.ws) return next();
    listenOn(await ctx.ws(), ctx.session);
  });
  addPage(app);
  const server = await trial.serve(app);
  const visitor = trial.visitor(server);
  await visitSocket(trial, visitor, (cookie, text) => say(visitor.url, cookie, text), 'WSESSION_LATE');
}
