import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { expect } from 'chai';
import { Talker } from './talker.js';

describe('the chat app, when its store fails or a client resets', () => {
  let app: ChildProcess;
  let origin: string;
  let ada: Talker;
  let died: Promise<never>;
  beforeEach(async () => {
    app = fork(new URL('./fragile-chat.js', import.meta.url), { stdio: ['ignore', 'inherit', 'ignore', 'ipc'] });
    died = once(app, 'exit').then(([code]) => {
      throw new Error(`The app ended with ${code}.`);
    });
    died.catch(() => undefined);
    const [port] = await once(app, 'message');
    origin = `http://127.0.0.1:${port}`;
    ada = await Talker.logIn(origin, 'ada');
  });
  afterEach(async () => {
    if (app.exitCode !== null) return;
    const exited = once(app, 'exit');
    app.disconnect();
    await exited;
  });

  async function rule(mode: 'work' | 'fail' | 'hold'): Promise<void> {
    const repeated = once(app, 'message');
    app.send(mode, () => undefined);
    await Promise.race([repeated, died]);
  }

  /** Sends an upgrade over a bare socket. */
  async function upgrade(): Promise<Socket> {
    const { port, host } = new URL(origin);
    const socket = connect(Number(port), '127.0.0.1').on('error', () => undefined);
    await once(socket, 'connect');
    const key = Buffer.alloc(16).toString('base64');
    socket.write(
      `GET / HTTP/1.1\r\nHost: ${host}\r\nOrigin: ${origin}\r\nCookie: ${ada.cookie}\r\nConnection: Upgrade\r\n` +
        `Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n\r\n`,
    );
    return socket;
  }

  /** The process is alive, and lets ada in. */
  async function expectService(): Promise<void> {
    await rule('work');
    const socket = ada.connect();
    await once(socket, 'open');
    const closed = once(socket, 'close');
    socket.terminate();
    await closed;
    expect(app.exitCode).to.equal(null);
  }

  it('answers an upgrade with 503 while the store is down', async () => {
    await rule('fail');
    const socket = await upgrade();
    const [head] = await once(socket, 'data');
    expect(String(head)).to.match(/^HTTP\/1.1 503 Service Unavailable\r\n/);
    await once(socket, 'close');
    await expectService();
  });

  for (const outcome of ['fail', 'work'] as const) {
    it(`survives clients that reset before their load ends (${outcome})`, async () => {
      for (let round = 0; round < 5; round++) {
        await rule('hold');
        const loading = once(app, 'message');
        const socket = await upgrade();
        await loading;
        const closed = once(socket, 'close');
        socket.resetAndDestroy();
        await closed;
        await rule(outcome);
        await expectService();
      }
    });
  }

  it('survives a broken frame, and a client that resets while it is connected', async () => {
    for (const hurt of [
      (socket: Socket) => socket.write('\xff\xff\xff'),
      (socket: Socket) => socket.resetAndDestroy(),
    ]) {
      const socket = await upgrade();
      await once(socket, 'data');
      const closed = once(socket, 'close');
      hurt(socket);
      await closed;
      await expectService();
    }
  });

  it('closes the socket with 1013, not as logged out, when a message fails because the store is down', async () => {
    const socket = ada.connect();
    await once(socket, 'open');
    await rule('fail');
    const closed = once(socket, 'close');
    socket.send('hello');
    expect((await closed)[0]).to.equal(1013);
    await expectService();
  });
});
