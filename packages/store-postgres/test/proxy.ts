import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** A way to the server that can be cut where it hurts. */
export interface TcpProxy {
  readonly port: number;
  /** Sends new connections to another server. */
  target: number;
  /** Cuts every connection in place of forwarding what holds this text to the client, or to the server. Resolves then. */
  cutAt(side: 'to client' | 'to server', text: string): Promise<void>;
  /** Forwards nothing more on the connections that there are, and leaves them open, as a network that drops packets. */
  stall(): void;
  /** Cuts every connection. */
  cut(): void;
  close(): Promise<void>;
}

export async function startProxy(target: number): Promise<TcpProxy> {
  const sockets = new Set<Socket>();
  let to = target;
  let trap: { side: string; text: string; resolve: () => void } | undefined;
  const cut = (): void => {
    for (const socket of sockets) socket.destroy();
    trap?.resolve();
    trap = undefined;
  };
  const server = createServer((near) => {
    const far = connect(to, '127.0.0.1');
    for (const [from, into, side] of [
      [near, far, 'to server'],
      [far, near, 'to client'],
    ] as const) {
      sockets.add(from);
      from.on('error', () => {});
      from.on('close', () => {
        sockets.delete(from);
        into.destroy();
      });
      from.on('data', (data) => {
        if (trap?.side === side && data.includes(trap.text)) cut();
        else into.write(data);
      });
    }
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    get target() {
      return to;
    },
    set target(port) {
      to = port;
    },
    cutAt: (side, text) =>
      new Promise((resolve) => {
        trap = { side, text, resolve };
      }),
    stall() {
      for (const socket of sockets) socket.removeAllListeners('data').resume();
    },
    cut,
    async close() {
      cut();
      server.close();
      await once(server, 'close');
    },
  };
}
