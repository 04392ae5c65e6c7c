import type * as Koa from 'koa';
import type { NotFreshError } from 'koa-wsession';

/** Middleware, in front of the session's: sends the visitor to the password page, and back to where it began. */
export async function askAgain(ctx: Koa.Context, next: Koa.Next): Promise<void> {
  try {
    await next();
  } catch (error) {
    if ((error as NotFreshError).code !== 'WSESSION_NOT_FRESH' || !ctx.accepts('html')) throw error;
    const from = ctx.method === 'GET' ? ctx.url.replace(/^\/+/, '/') : '/account'; // `//host` is another site
    ctx.redirect(`/password?from=${encodeURIComponent(from)}`);
  }
}
