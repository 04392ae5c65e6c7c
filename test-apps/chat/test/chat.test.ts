import { once } from 'node:events';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect } from 'chai';
import { createChat } from 'chat';
import { MemoryStore } from 'koa-wsession/memory';
import { Client } from 'testkit';
import { WebSocket } from 'ws';

describe('the chat app', () => {
  let server: Server;
  let origin: string;
  beforeEach(async () => {
    server = createChat(new MemoryStore());
    await once(server.listen(0, '127.0.0.1'), 'listening');
    origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.terminate();
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
  });

  const sockets: WebSocket[] = [];
  const connect = (who: Client, from = origin) => {
    const socket = new WebSocket(origin.replace('http', 'ws'), {
      headers: { cookie: who.cookie },
      origin: from,
    });
    sockets.push(socket);
    return socket;
  };
  const login = async (user: string) => {
    const who = new Client(origin);
    await who.post(`/login?user=${user}`);
    return who;
  };

  it('counts what a session sends, by page and by socket at the same time', async () => {
    const ada = await login('ada');
    const socket = connect(ada);
    await once(socket, 'open');
    const heard: string[] = [];
    const all = new Promise<void>((resolve) => {
      socket.on('message', (data) => {
        heard.push(JSON.parse(String(data)).text);
        if (heard.length === 20) resolve();
      });
    });
    await Promise.all(
      Array.from({ length: 20 }, async (_, i) =>
        i % 2 ? ada.post(`/say?text=${i}`) : socket.send(String(i)),
      ),
    );
    await all;
    expect((await ada.get('/me')).json()).to.deep.equal({ user: 'ada', messages: 20 });
  });

  it('closes the socket of who logs out, and no other', async () => {
    const [ada, bob] = [await login('ada'), await login('bob')];
    const [hers, his] = [connect(ada), connect(bob)];
    await Promise.all([hers, his].map((socket) => once(socket, 'open')));
    const closed = once(hers, 'close');
    await ada.post('/logout');
    expect((await closed)[0]).to.equal(4001);
    expect(his.readyState).to.equal(WebSocket.OPEN);
  });

  it('lets nobody in who is not logged in, or who comes from another site', async () => {
    const refused = async (socket: WebSocket) => {
      const [error] = await once(socket, 'error');
      return (error as Error).message;
    };
    expect(await refused(connect(new Client(origin)))).to.match(/401/);
    expect(await refused(connect(await login('ada'), 'http://evil.example'))).to.match(/403/);
  });
});
