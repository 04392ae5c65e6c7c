import { once } from 'node:events';
import { request } from 'node:http';
import type { Socket } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect } from 'chai';
import { createSite, type Handler, type Site, tidy } from './helpers.js';

/** A handler that turns the connection into a WebSocket's, past Node's response, and then does something. */
function upgrading(then: Handler): Handler {
  return async (ctx, sessions) => {
    ctx.respond = false;
    ctx.req.socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n');
    const outcome = await Promise.resolve(then(ctx, sessions)).catch((error) => error.code);
    ctx.req.socket.write(`<${outcome}>`);
  };
}

/** Opens a WebSocket. Returns what the server sent besides the handshake. */
async function connect(site: Site, path: string, cookie: string): Promise<string> {
  const headers = { connection: 'Upgrade', upgrade: 'websocket', cookie };
  const outgoing = request(site.served.url + path, { headers }).end();
  const [, socket, head] = (await once(outgoing, 'upgrade')) as [unknown, Socket, Buffer];
  let sent = String(head);
  socket.on('data', (chunk) => {
    sent += chunk;
  });
  while (!sent.includes('>')) await once(socket, 'data');
  for (let i = 0; i < 5; i++) await nextTurn();
  socket.destroy();
  return sent;
}

describe('a WebSocket that a handler opens', () => {
  afterEach(tidy);

  const handlers: Record<string, Handler> = {
    '/': (ctx) => ctx.session.count,
    '/fill': (ctx) => void (ctx.session.count = 1),
    '/save': upgrading(async (ctx) => {
      ctx.session.count++;
      await ctx.session.save();
      return ctx.session.count;
    }),
    '/begin': upgrading(async (ctx) => {
      ctx.session.count = 1;
      await ctx.session.save();
    }),
    '/forget': upgrading((ctx) => void (ctx.session.count = 1)),
  };

  it('saves a session that exists', async () => {
    const site = await createSite(handlers);
    const ada = site.visitor();
    await ada.get('/fill');
    expect(await connect(site, '/save', ada.cookie)).to.equal('<2>');
    expect((await ada.get('/')).body).to.equal('2');
    expect(site.errors).to.deep.equal([]);
  });

  it('is not made by a header alone: an ordinary response is one', async () => {
    const site = await createSite({
      '/raw': (ctx) => {
        ctx.respond = false;
        ctx.session.count = 1;
        ctx.res.end('raw');
      },
    });
    const ada = site.visitor();
    for (let i = 0; i < 2; i++) {
      const { status, body } = await ada.get('/raw', { headers: { connection: 'Upgrade', upgrade: 'websocket' } });
      expect([status, body]).to.deep.equal([404, 'raw']);
    }
    expect(site.errors).to.deep.equal([]);
  });

  it('refuses what needs a cookie, with a LateError', async () => {
    const site = await createSite(handlers);
    expect(await connect(site, '/begin', '')).to.equal('<WSESSION_LATE>');
  });

  it('gets no error page when the handler leaves such a change: an event of the app says so', async () => {
    const site = await createSite(handlers);
    const reported = site.nextError();
    expect(await connect(site, '/forget', '')).to.equal('<undefined>');
    expect(await reported).to.include({ code: 'WSESSION_LATE' });
    expect(site.errors).to.have.length(1);
  });
});
