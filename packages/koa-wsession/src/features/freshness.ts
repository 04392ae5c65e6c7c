import type * as Koa from 'koa';
import { NotFreshError, OptionError } from '../errors.js';
import { AUTHENTICATED_KEY } from '../kernel/entries.js';
import { SAME_CONTENT } from '../kernel/replacing.js';
import type { SessionObject } from '../kernel/session-object.js';
import { OWNER_KEY } from './owner-index.js';

/* Re-authentication: how long ago an owner logged in, and what wants that to be recent. */

/** Stamps the time of authentication, under a new id. */
export async function confirm({ lifecycle }: SessionObject): Promise<void> {
  await lifecycle.replace(({ entries }) => {
    if (!entries.has(OWNER_KEY)) throw new NotFreshError();
    return { ...SAME_CONTENT, add: new Map([[AUTHENTICATED_KEY, String(Date.now())]]) };
  });
}

export function isFresh(authenticatedAt: Date | undefined, seconds: number): boolean {
  // A login in the future is by a clock that was wrong: the clocks of two machines may differ a little.
  return authenticatedAt !== undefined && Math.abs(Date.now() - authenticatedAt.getTime()) <= seconds * 1000;
}

/** Middleware that lets only requests pass whose session is fresh. */
export function requireFresh(timeOf: (ctx: Koa.Context) => Date | undefined, seconds: number): Koa.Middleware {
  assertSeconds('requireFresh()', seconds);
  return async (ctx, next) => {
    if (!isFresh(timeOf(ctx), seconds)) throw new NotFreshError(seconds);
    await next();
  };
}

export function assertSeconds(where: string, seconds: unknown): void {
  if (!(typeof seconds === 'number' && seconds >= 0))
    throw new OptionError(`seconds of ${where}`, seconds, 'a number from 0');
}
