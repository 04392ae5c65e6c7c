import { randomBytes, timingSafeEqual } from 'node:crypto';
import type Koa from 'koa';
import { Html, html } from './page.js';

declare module 'koa-wsession' {
  interface SessionData {
    /** Comes back with each form of a browser that doesn't say where a request is from. */
    csrf?: string;
  }
}

const FIELD = 'csrf';

/**
 * Refuses what another site has a browser send. Browsers say by Sec-Fetch-Site where a request comes from; those older
 * than 2023 have to bring the token of the session's forms. It belongs behind the session and the body parser.
 */
export function csrf(): Koa.Middleware {
  return (ctx, next) => {
    if (ctx.method !== 'GET' && ctx.method !== 'HEAD' && !isOwn(ctx))
      ctx.throw(403, 'This form is not ours.');
    return next();
  };
}

function isOwn(ctx: Koa.Context): boolean {
  const site = ctx.get('Sec-Fetch-Site');
  if (site !== '') return site === 'same-origin' || site === 'none';
  const { body } = ctx.request as { body?: Record<string, unknown> };
  return isSame(ctx.session.csrf, body?.[FIELD]);
}

/** In constant time, so that nobody finds the token out by trying. */
function isSame(expected: string | undefined, sent: unknown): boolean {
  if (expected === undefined || typeof sent !== 'string') return false;
  const [ours, theirs] = [Buffer.from(expected), Buffer.from(sent)];
  return ours.length === theirs.length && timingSafeEqual(ours, theirs);
}

/** The token as a field for a form, where the browser needs one: others get no session for looking at a form. */
export function csrfField(ctx: Koa.Context): Html {
  if (ctx.get('Sec-Fetch-Site') !== '') return new Html('');
  ctx.session.csrf ??= randomBytes(24).toString('base64url');
  return html`<input type="hidden" name="${FIELD}" value="${ctx.session.csrf}">`;
}
