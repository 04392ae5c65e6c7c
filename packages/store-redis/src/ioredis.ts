import { AsyncResource } from 'node:async_hooks';
import type { Writable } from 'node:stream';
import timers from 'node:timers';
import type { Client, Limit, Send, Tracking, TrackingListener } from './client.js';

/** A client of ioredis 5 or 6, for one server, Sentinel (`new Redis(…)`) or Cluster (`new Redis.Cluster(…)`). */
export interface IoredisLike {
  /** `ready`, `end` or a state in between. */
  readonly status: string;
  /** The client's options. */
  readonly options: { readonly keyPrefix?: string | Buffer | undefined };
  /** Makes a function that makes a `Command`, and has its `this` send it. */
  createBuiltinCommand(name: string): { string(this: unknown, args: readonly string[]): unknown };
  /** Sends a command. */
  sendCommand(command: never): unknown;
  /** The servers of a Cluster. */
  nodes?(role: 'master'): IoredisLike[];
  /** Makes another client with the same options, but for these. */
  duplicate?(options: never): unknown;
  /** Connects a client with `lazyConnect`. */
  connect(): Promise<unknown>;
  /** Closes the connection. */
  disconnect?(): void;
  /** Adds a listener. */
  on(event: string, listener: (error: unknown, keys: unknown) => void): unknown;
  /** Removes a listener. */
  off(event: string, listener: (error: unknown) => void): unknown;
}

/** Neither a pipeline, nor what merely has a client's methods: ioredis-mock, or redis@4 in its legacy mode. */
export function isIoredis(value: unknown): value is IoredisLike {
  const { createBuiltinCommand, connect, on, off } = Object(value) as Partial<IoredisLike>;
  return [createBuiltinCommand, connect, on, off].every((method) => typeof method === 'function');
}

export function ioredis(redis: IoredisLike): Client {
  return {
    get status() {
      return redis.status ?? 'ready'; // undefined: a stub
    },
    get closed() {
      return redis.status === 'end' ? 'The Redis client is closed' : undefined;
    },
    keyPrefix: String(redis.options?.keyPrefix ?? ''),
    listen(how, wake, note) {
      for (const event of ['ready', 'end']) redis[how](event, wake);
      redis[how]('error', note);
    },
    connect() {
      if (redis.status === 'wait') redis.connect().catch(() => {}); // the client reports it itself
    },
    send: sendTogether(redis),
    primaries: async () => (redis.nodes?.('master') ?? [redis]).map((node) => (line, limit) => send(node, line, limit)),
    track: redis.duplicate && !redis.nodes ? (prefix, listener) => track(redis, prefix, listener) : undefined,
  };
}

/** A command of ioredis. */
interface Command {
  reject(error: Error): void;
  /** What is written to the socket, each time that the command is sent. */
  toWritable(socket: Writable): string | Buffer;
}

/** In place of a client: gives back the command that it is to send. */
const MAKE = { options: {}, sendCommand: (command: Command): Command => command };

/** The sockets that hold back what is written to them; only while commands are sent. */
let corked: Set<Writable> | undefined;

/**
 * Sends a command as a method such as `redis.evalsha` would. But past its limit it is sent as a `PING`: a client that loses
 * the connection sends unanswered commands again once it is connected, be it hours later, and none can be taken back.
 * (A write whose request got a 503 would overwrite what another process stored since.)
 */
function send(redis: IoredisLike, line: readonly string[], limit: Limit): Promise<unknown> {
  const command = redis.createBuiltinCommand(String(line[0])).string.call(MAKE, line.slice(1)) as Command;
  const { toWritable } = command;
  const toWritableInTime = (socket: Writable): string | Buffer => {
    if (corked && !corked.has(socket)) {
      socket.cork();
      corked.add(socket);
    }
    if (performance.now() < limit.deadline) return toWritable.call(command, socket);
    command.reject(new Error('TIMEOUT command abandoned: the request timed out'));
    return '*1\r\n$4\r\nPING\r\n';
  };
  command.toWritable = toWritableInTime;
  return redis.sendCommand(command as never) as Promise<unknown>;
}

/** Not a fake timer's of a test, with which nothing would be sent: test runners fake the global one. */
const nextTurn = timers.setImmediate;

/**
 * Sends the commands of one turn of the event loop in one write, at its end. (Auto-pipelining isn't used: it groups scripts
 * by the wrong key, and fails whole where a connection breaks.) Nothing is held back once their limits were looked at.
 */
function sendTogether(redis: IoredisLike): Send {
  let waiting: Array<() => void> = [];
  const sendAll = (): void => {
    const all = waiting;
    waiting = [];
    const sockets: Set<Writable> = new Set();
    corked = sockets;
    for (const sendOne of all) sendOne();
    corked = undefined;
    for (const socket of sockets) socket.uncork();
  };
  return (line, limit) =>
    new Promise((resolve, reject) => {
      const sendOne = (): void => {
        try {
          resolve(send(redis, line, limit));
        } catch (error) {
          reject(error);
        }
      };
      if (waiting.length === 0) nextTurn(sendAll);
      // For tracing: each command belongs to its own request. (`AsyncResource.bind` costs as much as the command.)
      const request = new AsyncResource('koa-wsession');
      waiting.push(() => request.runInAsyncScope(sendOne));
    });
}

/**
 * Announcements come as messages of a channel, which takes RESP2: ioredis passes no others on. The connection redirects them
 * to itself, so that they come in order with the replies to `ping`.
 */
function track(client: IoredisLike, prefix: string, listener: TrackingListener): Tracking {
  const redis = client.duplicate?.({
    protocol: 2,
    keyPrefix: '',
    lazyConnect: true,
    autoResubscribe: false,
    autoResendUnfulfilledCommands: false,
  } as never) as IoredisLike;
  const run = (...line: string[]): Promise<unknown> => send(redis, line, { deadline: Number.POSITIVE_INFINITY });
  redis.on('ready', () => listener.ready());
  redis.on('close', () => listener.lost());
  redis.on('error', () => {}); // the app's own client reports that Redis is away
  redis.on('messageBuffer', (_, keys) => listener.changed(keys as unknown[] | null));
  redis.connect().catch(() => {});
  return {
    async begin() {
      const id = String(await run('client', 'id'));
      await run('client', 'tracking', 'on', 'redirect', id, 'bcast', 'prefix', prefix);
      await run('subscribe', '__redis__:invalidate');
    },
    ping: () => run('ping'),
    close: () => redis.disconnect?.(),
  };
}
