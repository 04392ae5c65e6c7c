import { AsyncLocalStorage } from 'node:async_hooks';
import { subscribe } from 'node:diagnostics_channel';
import type * as Koa from 'koa';
import type { SessionEvent } from 'koa-wsession';

/** Tokens that nobody was given, or that are long gone. `expired` and `replaced` are everyday life. */
const SUSPICIOUS = ['malformed', 'oversized', 'signature', 'seal', 'unknown', 'corrupt'];

/**
 * Middleware, in front of the session's: calls `alarm` once a minute for each address that sends more than `limit`
 * invalid tokens in it.
 */
export function watchGuessing(alarm: (address: string) => void, limit = 20): Koa.Middleware {
  const requests = new AsyncLocalStorage<Koa.Context>();
  let minute = 0;
  let counts = new Map<string, number>();

  subscribe('koa-wsession:rejected', (message) => {
    const address = requests.getStore()?.ip;
    if (address === undefined || !SUSPICIOUS.includes((message as SessionEvent).reason ?? '')) return;
    const now = Math.floor(Date.now() / 60_000);
    if (now !== minute) {
      minute = now;
      counts = new Map(); // so it stays small
    }
    const count = (counts.get(address) ?? 0) + 1;
    counts.set(address, count);
    if (count === limit + 1) alarm(address);
  });

  return (ctx, next) => requests.run(ctx, next);
}
