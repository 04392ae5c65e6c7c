import { type Command, Redis } from 'ioredis';
import { Redis as Redis5 } from 'ioredis5';
import { createClient as createClient5 } from 'redis5';
import { createClient as createClient6 } from 'redis6';
import { createSandbox } from 'sinon';

/** Our own: other tests restore the default one. */
const sinon = createSandbox();

/** Those that both versions take. */
export interface ClientOptions {
  autoResendUnfulfilledCommands?: boolean;
  enableAutoPipelining?: boolean;
  enableOfflineQueue?: boolean;
  keyPrefix?: string;
  lazyConnect?: boolean;
  maxRetriesPerRequest?: number | null;
  reconnectOnError?: (error: Error) => boolean;
  retryStrategy?: () => number;
}

/** The versions that the store serves. */
export const clients = {
  'ioredis 6': (port: number, options: ClientOptions = {}): Redis => new Redis(port, options).on('error', () => {}),
  'ioredis 5': (port: number, options: ClientOptions = {}): Redis5 => new Redis5(port, options).on('error', () => {}),
};

/** Neither waited for nor heard, as Redis may be away. */
export const nodeClients = {
  'node-redis 5': (port: number, options: { RESP?: 2 | 3 } = {}) => {
    const redis = createClient5({ socket: { port }, ...options }).on('error', () => {});
    redis.connect().catch(() => {});
    return redis;
  },
  'node-redis 6': (port: number, options: { RESP?: 2 | 3 } = {}) => {
    const redis = createClient6({ socket: { port }, ...options }).on('error', () => {});
    redis.connect().catch(() => {});
    return redis;
  },
};

/** A client of ioredis 6 that is connected to nothing. Its commands resolve with what the stubs say, which get their arguments. */
export function stubIoredis() {
  const redis = sinon.createStubInstance(Redis);
  const stubs = {
    evalsha: sinon.stub<[string[]], Promise<unknown>>(),
    eval: sinon.stub<[string[]], Promise<unknown>>(),
    info: sinon.stub<[string[]], Promise<unknown>>(),
  };
  const sent: Command[] = [];
  const reset = (): void => {
    for (const stub of Object.values(stubs)) stub.reset();
    stubs.info.resolves('');
    sent.length = 0;
    redis.createBuiltinCommand.callThrough();
    redis.sendCommand.callsFake((command) => {
      sent.push(command);
      return stubs[command.name as 'info'](command.args as string[]);
    });
  };
  reset();
  return { redis, ...stubs, sent, reset };
}

/** What the store needs the right to, as its README says; the index and `scan` need the second line. */
export const COMMANDS = [
  ...['eval', 'evalsha', 'type', 'hget', 'hmget', 'hgetall', 'hset', 'hdel', 'del', 'pexpire'],
  ...['zscore', 'zcount', 'zadd', 'zremrangebyscore', 'zrevrange', 'zrem', 'zrangebyscore', 'scan'],
];
