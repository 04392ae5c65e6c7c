import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { Duplex } from 'node:stream';
import { bodyParser } from '@koa/bodyparser';
import Router from '@koa/router';
import { csrf, csrfField } from 'app-kit/csrf';
import { pages } from 'app-kit/page';
import Koa from 'koa';
import { type Sessions, session, UnavailableError } from 'koa-wsession';
import type { Store } from 'koa-wsession/store';
import { WebSocketServer } from 'ws';
import { renderLogin, renderRoom } from './page.js';
import { Room } from './room.js';

const SCRIPT = readFileSync(new URL('../public/chat.js', import.meta.url), 'utf8');

/** A chat: a visitor logs in on the page and talks by WebSocket, in the same session. `place` says where sessions are. */
export function createChat(store: Store, place: string): Server {
  if (store.capabilities.seals)
    throw new Error('The chat needs a store on the server: a WebSocket can send no new cookie.');
  const app = new Koa({ proxy: store.secure }); // a proxy ends TLS
  const sessions = session(store, { name: store.secure ? '__Host-chat' : 'chat' });
  const room = new Room(sessions, (error) => app.emit('error', error));

  app.use(pages());
  app.use(sessions);
  app.use(bodyParser({ enableTypes: ['form'] }));
  app.use(csrf());
  app.use(createRoutes(sessions, room, place).routes());

  const server = createServer(app.callback());
  acceptUpgrades(server, app, sessions, room);
  server.on('close', () => room.close());
  return server;
}

function createRoutes(sessions: Sessions, room: Room, place: string): Router {
  const router = new Router();

  router.get('/chat.js', (ctx) => {
    ctx.type = 'js';
    ctx.body = SCRIPT;
  });

  router.get('/', (ctx) => {
    const user = sessions.of(ctx).owner;
    const { messages = 0 } = ctx.session;
    const frame = { place, csrf: csrfField(ctx) };
    ctx.type = 'html';
    ctx.body =
      user === undefined
        ? renderLogin({ ...frame, wasLoggedOut: 'out' in ctx.query })
        : renderRoom({ ...frame, user, messages });
  });

  router.get('/me', (ctx) => {
    ctx.body = { user: sessions.of(ctx).owner ?? null, messages: ctx.session.messages ?? 0 };
  });

  router.post('/login', async (ctx) => {
    const name = fieldOf(ctx, 'name');
    if (name === '' || name.length > 40) return ctx.throw(400, 'A name has 1 to 40 characters.');
    await sessions.of(ctx).logIn(name);
    ctx.redirect('/');
  });

  router.post('/say', async (ctx) => {
    if (sessions.of(ctx).owner === undefined) return ctx.redirect('/?out');
    await room.say(ctx.session, fieldOf(ctx, 'text'));
    ctx.redirect('/');
  });

  router.post('/logout', async (ctx) => {
    await sessions.of(ctx).logOut();
    ctx.redirect('/?out');
  });

  return router;
}

function fieldOf(ctx: Koa.Context, name: string): string {
  return String((ctx.request.body as Record<string, unknown>)[name] ?? '').trim();
}

/** Opens the session of each upgrade, and lets logged-in visitors into the room. */
function acceptUpgrades(server: Server, app: Koa, sessions: Sessions, room: Room): void {
  const upgrades = new WebSocketServer({ noServer: true, maxPayload: 4096 });

  server.on('upgrade', (request, socket, head) => {
    // Before anything is awaited: an error event without a listener ends the process.
    socket.on('error', () => socket.destroy());
    accept(request, socket, head).catch((error) => {
      app.emit('error', error);
      refuse(socket, error instanceof UnavailableError ? '503 Service Unavailable' : '500 Internal Server Error');
    });
  });

  async function accept(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    // Any site can open a WebSocket here, and the browser may send the cookie along: only our own pages may.
    const { origin = '', host } = request.headers;
    if (origin.replace(/^https?:\/\//, '') !== host) return refuse(socket, '403 Forbidden');
    const opened = await sessions.open(request, { app });
    if (sessions.of(opened).owner === undefined) return refuse(socket, '401 Unauthorized');
    upgrades.handleUpgrade(request, socket, head, (client) => room.join(client, opened));
  }
}

function refuse(socket: Duplex, status: string): void {
  socket.once('finish', () => socket.destroy());
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
}
