import { randomBytes } from 'node:crypto';
import { Redis } from 'ioredis';
import { Redis as Redis5 } from 'ioredis5';
import type { Call, Changes, Entries, None, SessionRecord } from 'koa-wsession';
import { createClient as createClient5 } from 'redis5';
import { createClient as createClient6 } from 'redis6';

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
  'ioredis 6': (port: number, options: ClientOptions = {}): Redis =>
    new Redis(port, options).on('error', () => {}),
  'ioredis 5': (port: number, options: ClientOptions = {}): Redis5 =>
    new Redis5(port, options).on('error', () => {}),
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

/** What the store needs the right to, as its README says; the index of owners needs the second line. */
export const COMMANDS = [
  ...['eval', 'evalsha', 'type', 'hget', 'hgetall', 'hset', 'hdel', 'del', 'pexpire'],
  ...['zscore', 'zadd', 'zremrangebyscore', 'zrevrange', 'zrem', 'zrangebyscore'],
];

export const HOUR = 3_600_000;

export function call(timeout = 5000): Call {
  return { name: 'test', deadline: performance.now() + timeout };
}

/** A key as the core makes them. */
export function address(): string {
  return randomBytes(32).toString('base64url');
}

export function recordOf(entries: Record<string, string> = {}, expiresAt = Date.now() + HOUR): SessionRecord {
  return { entries: new Map(Object.entries(entries)), createdAt: Date.now(), expiresAt };
}

export function changesOf(set: Record<string, string>, more: Partial<Changes> = {}): Changes {
  return { set: new Map(Object.entries(set)), delete: [], expiresAt: Date.now() + HOUR, ...more };
}

export function contentOf(record: { readonly entries: Entries } | None): Record<string, string> | undefined {
  return typeof record === 'object' ? Object.fromEntries(record.entries) : undefined;
}

/** The error that a promise rejects with. */
export function rejection(promise: Promise<unknown>): Promise<Error> {
  return promise.then(
    () => {
      throw new Error('It was expected to fail.');
    },
    (error) => error,
  );
}
