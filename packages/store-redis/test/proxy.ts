import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** A connection to Redis that can be cut where it hurts. */
export interface CuttableProxy {
  readonly port: number;
  /** The port to which new connections go. */
  target: number;
  /** Cuts every connection in place of the next reply, or of one after so many. Resolves when that is done. */
  cutReply(after?: number): Promise<void>;
  /** Cuts every connection in place of forwarding the next command. Resolves when that is done. */
  cutCommand(): Promise<void>;
  /** Lets nobody connect, until `open`. */
  shut(): void;
  open(): void;
  close(): Promise<void>;
}

export async function startProxy(target: number): Promise<CuttableProxy> {
  const sockets = new Set<Socket>();
  let to = target;
  let isOpen = true;
  let onReply: (() => void) | undefined;
  let repliesLeft = 0;
  let onCommand: (() => void) | undefined;

  const cut = (): void => {
    for (const socket of sockets) socket.destroy();
    onReply = undefined;
    onCommand = undefined;
  };
  const server = createServer((near) => {
    if (!isOpen) return near.destroy();
    const far = connect(to, '127.0.0.1');
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        sockets.delete(socket);
        other.destroy();
      });
    }
    near.on('data', (data) => (onCommand ? onCommand() : far.write(data)));
    far.on('data', (data) => {
      if (onReply && repliesLeft-- === 0) onReply();
      else near.write(data);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');

  return {
    port: (server.address() as AddressInfo).port,
    get target() {
      return to;
    },
    set target(port) {
      to = port;
    },
    cutReply: (after = 0) =>
      new Promise((resolve) => {
        repliesLeft = after;
        onReply = () => resolve(cut());
      }),
    cutCommand: () =>
      new Promise((resolve) => {
        onCommand = () => resolve(cut());
      }),
    shut() {
      isOpen = false;
    },
    open() {
      isOpen = true;
    },
    async close() {
      cut();
      server.close();
      await once(server, 'close');
    },
  };
}
