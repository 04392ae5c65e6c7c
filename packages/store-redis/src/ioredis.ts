import type { Argument, Client, Tracking, TrackingListener } from './client.js';

/** A client of ioredis 5 or 6, for one server, Sentinel (`new Redis(…)`) or Cluster (`new Redis.Cluster(…)`). */
export interface IoredisLike {
  /** `ready`, `end` or a state in between. */
  readonly status: string;
  /** The client's options. */
  readonly options: { readonly keyPrefix?: string | Buffer | undefined };
  /** Makes a function that sends a command. */
  createBuiltinCommand(name: string): {
    string(this: IoredisLike, args: readonly Argument[]): Promise<unknown>;
  };
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
    runScript: (command, script, key, args) => send(redis, [command, script, 1, key, ...args]),
    primaries: async () => (redis.nodes?.('master') ?? [redis]).map((node) => (line) => send(node, line)),
    track: redis.duplicate && !redis.nodes ? (prefix, listener) => track(redis, prefix, listener) : undefined,
  };
}

/**
 * Sends a command as a method such as `redis.evalsha` would, without two things: no auto-pipelining, which groups scripts
 * by the wrong key and fails whole where a connection breaks; no spread, which overflows the stack with many arguments.
 */
function send(redis: IoredisLike, [name, ...args]: readonly Argument[]): Promise<unknown> {
  return redis.createBuiltinCommand(String(name)).string.call(redis, args);
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
  redis.on('ready', () => listener.ready());
  redis.on('close', () => listener.lost());
  redis.on('error', () => {}); // the app's own client reports that Redis is away
  redis.on('messageBuffer', (_, keys) => listener.changed(keys as unknown[] | null));
  redis.connect().catch(() => {});
  return {
    async begin() {
      const id = String(await send(redis, ['client', 'id']));
      await send(redis, ['client', 'tracking', 'on', 'redirect', id, 'bcast', 'prefix', prefix]);
      await send(redis, ['subscribe', '__redis__:invalidate']);
    },
    ping: () => send(redis, ['ping']),
    close: () => redis.disconnect?.(),
  };
}
