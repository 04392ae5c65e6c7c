import { type Client, type Limit, millisecondsUntil, type Tracking, type TrackingListener } from './client.js';

/** A client of node-redis 5 or 6, for one server (`createClient(…)`) or Cluster (`createCluster(…)`). */
export interface NodeRedisLike {
  /** Whether `connect()` was called, and the client wasn't closed since. */
  readonly isOpen: boolean;
  /** Whether a client for one server is connected. */
  readonly isReady?: boolean;
  /** The masters of a Cluster, once it knows them. */
  readonly masters?: readonly unknown[];
  /** The option `keyPrefix` of version 6. */
  readonly _keyPrefix?: string | Buffer | undefined;
  /** The client for one server of a Cluster. */
  nodeClient?(node: unknown): Promise<NodeRedisLike>;
  /** Makes another client with the same options, but for these. */
  duplicate?(options: never): unknown;
  /** Connects a client. */
  connect?(): Promise<unknown>;
  /** Closes the connection at once. */
  destroy?(): void;
  /** Not used: versions before 5 don't have it. */
  withCommandOptions: (options: never) => unknown;
  /** Sends a command; a Cluster takes its key and whether it only reads first. */
  sendCommand: (...args: never[]) => Promise<unknown>;
  /** Adds a listener. */
  on(event: string, listener: (error: unknown) => void): unknown;
  /** Removes a listener. */
  off(event: string, listener: (error: unknown) => void): unknown;
}

/** Neither of an older version, nor of its pools and sentinels. */
export function isNodeRedis(value: unknown): value is NodeRedisLike {
  const { withCommandOptions, sendCommand, on, off, createPool, nodeClient } = Object(value);
  const is = (method: unknown): boolean => typeof method === 'function';
  return [withCommandOptions, sendCommand, on, off].every(is) && [createPool, nodeClient].some(is);
}

export function nodeRedis(redis: NodeRedisLike): Client {
  const isCluster = redis.nodeClient !== undefined;
  const keyPrefix = String(redis._keyPrefix ?? '');
  let wasOpen = false;
  return {
    get status() {
      return (isCluster ? redis.masters?.length : redis.isReady) ? 'ready' : 'connecting';
    },
    get closed() {
      wasOpen ||= redis.isOpen;
      if (redis.isOpen) return undefined;
      const advice = 'The Redis client is not connected: call client.connect() first';
      return wasOpen ? 'The Redis client is closed' : advice;
    },
    keyPrefix,
    /** The first two events are a client's, the next two a Cluster's. */
    listen(how, wake, note) {
      for (const event of ['ready', 'end', 'connect', 'disconnect']) redis[how](event, wake);
      redis[how]('error', note);
    },
    connect() {}, // the app does
    send: (line, limit, key) => send(redis, line, limit, ...(isCluster ? [key, false] : [])),
    async primaries() {
      const clients = (redis.masters ?? []).map((node) => redis.nodeClient?.(node) ?? redis);
      return (isCluster ? await Promise.all(clients) : [redis]).map(
        (client) => (line, limit) => send(client, line, limit),
      );
    },
    track: redis.duplicate && !isCluster ? (prefix, listener) => track(redis, prefix, listener) : undefined,
  };
}

/**
 * Sends a command as it is: methods such as `evalSha` overflow the stack with many arguments. The signal takes back a command
 * that waits; one that is written all the same is a `PING` by then. An empty `typeMapping`: replies are strings, whatever the
 * client was told.
 */
async function send(redis: NodeRedisLike, line: readonly string[], limit: Limit, ...route: unknown[]) {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(), millisecondsUntil(limit.deadline));
  const options = { abortSignal: controller.signal, typeMapping: {} };
  const command = inTime(line, limit);
  try {
    const reply = await redis.sendCommand(...([...route, command, options] as never[]));
    if (command.length === 1 && line.length > 1) throw new Error('TIMEOUT command abandoned: the request timed out');
    return reply;
  } finally {
    clearTimeout(timer);
  }
}

/** A command that is a `PING` if its limit is past when it is written: then, node-redis looks at its length first. */
function inTime(line: readonly string[], limit: Limit): string[] {
  let isWritten = false;
  return new Proxy([...line], {
    get(command, property) {
      if (property === 'length' && !isWritten) {
        isWritten = true;
        if (performance.now() >= limit.deadline) command.splice(0, command.length, 'PING');
      }
      return Reflect.get(command, property);
    },
  });
}

/** Announcements come between the replies (RESP3). */
function track(client: NodeRedisLike, prefix: string, listener: TrackingListener): Tracking {
  const redis = client.duplicate?.({
    RESP: 3,
    emitInvalidate: true,
    clientSideCache: undefined,
  } as never) as NodeRedisLike;
  const run = (...line: string[]): Promise<unknown> => send(redis, line, { deadline: Number.POSITIVE_INFINITY });
  redis.on('ready', () => listener.ready());
  for (const event of ['error', 'reconnecting', 'end']) redis.on(event, (error) => listener.lost(error));
  redis.on('invalidate', (key) => listener.changed(key === null ? null : [key]));
  redis.connect?.().catch(() => {});
  return {
    async begin() {
      await run('CLIENT', 'TRACKING', 'OFF'); // of only those keys that this connection reads
      await run('CLIENT', 'TRACKING', 'ON', 'BCAST', 'PREFIX', prefix);
    },
    ping: () => run('PING'),
    close: () => redis.destroy?.(),
  };
}
