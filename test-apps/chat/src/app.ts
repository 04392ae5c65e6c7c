import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { createServer, type Server } from 'node:http';
import Router from '@koa/router';
import Koa from 'koa';
import { type Session, type SessionEvent, type Store, session } from 'koa-wsession';
import { type WebSocket, WebSocketServer } from 'ws';
import { PAGE } from './page.js';

declare module 'koa-wsession' {
  interface SessionData {
    user?: string;
    /** What this visitor sent, by page and by socket. */
    messages?: number;
  }
}

/** A chat: who logs in on the page talks by WebSocket, as the same session; who logs out is cut off. */
export function createChat(store: Store): Server {
  const app = new Koa();
  const router = new Router();
  const sessions = session(store);
  /** The open sockets, with what stands for their sessions in events. */
  const sockets = new Map<WebSocket, string>();

  router.get('/', (ctx) => {
    ctx.type = 'html';
    ctx.body = PAGE;
  });

  router.get('/me', (ctx) => {
    const { user = null, messages = 0 } = ctx.session;
    ctx.body = { user, messages };
  });

  router.post('/login', async (ctx) => {
    ctx.session.user = String(ctx.query.user || 'somebody');
    await ctx.session.regenerate();
    ctx.status = 204;
  });

  router.post('/say', async (ctx) => {
    await say(ctx.session, String(ctx.query.text));
    ctx.status = 204;
  });

  router.post('/logout', async (ctx) => {
    await ctx.session.destroy();
    ctx.status = 204;
  });

  app.use(sessions).use(router.routes());

  const server = createServer(app.callback());
  const upgrades = new WebSocketServer({ noServer: true });

  server.on('upgrade', async (request, socket, head) => {
    // Any site can open a WebSocket here, and the browser sends the cookie along (SameSite aside): only our own pages may.
    if (request.headers.origin !== `http://${request.headers.host}`)
      return socket.end('HTTP/1.1 403 Forbidden\r\n\r\n');
    let opened: Session;
    try {
      opened = await sessions.open(request, { app });
    } catch {
      return socket.end('HTTP/1.1 503 Service Unavailable\r\n\r\n');
    }
    const ref = sessions.ref(opened);
    if (ref === undefined || opened.user === undefined)
      return socket.end('HTTP/1.1 401 Unauthorized\r\n\r\n');
    upgrades.handleUpgrade(request, socket, head, (client) => {
      sockets.set(client, ref);
      client.on('close', () => sockets.delete(client));
      client.on('message', (text) => say(opened, String(text)).catch(() => client.close(4001, 'logged out')));
    });
  });

  async function say(speaker: Session, text: string): Promise<void> {
    // Atomic, so that what page and socket send at the same time counts twice; and it fails once the session ended.
    await speaker.update('messages', (messages = 0) => messages + 1);
    for (const client of sockets.keys()) client.send(JSON.stringify({ user: speaker.user, text }));
  }

  const cutOff = (message: unknown): void => {
    const { session: ref, from } = message as SessionEvent;
    for (const [client, its] of sockets) if (its === (from ?? ref)) client.close(4001, 'logged out');
  };
  const ends = ['koa-wsession:destroyed', 'koa-wsession:regenerated'];
  for (const end of ends) subscribe(end, cutOff);
  server.on('close', () => {
    for (const end of ends) unsubscribe(end, cutOff);
    for (const client of sockets.keys()) client.terminate();
  });
  return server;
}
