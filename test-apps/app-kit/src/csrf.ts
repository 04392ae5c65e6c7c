import { randomBytes, timingSafeEqual } from 'node:crypto';
import type Koa from 'koa';
import type {} from 'koa-wsession'; // what is declared below merges into it
import { Html, html } from './page.js';

declare module 'koa-wsession' {
  interface SessionData {
    /** The token of this session's forms, for browsers that don't send Sec-Fetch-Site. */
    csrf?: string;
  }
}

const FIELD = 'csrf';

/**
 * Refuses requests that another site makes a browser send. Browsers name the origin's site in Sec-Fetch-Site; clients
 * without this header (browsers before 2023) must send the token of the session's forms. Use it after the session and
 * the body parser.
 */
export function csrf(): Koa.Middleware {
  return (ctx, next) => {
    if (ctx.method !== 'GET' && ctx.method !== 'HEAD' && !isOwn(ctx))
      ctx.throw(403, 'This form was sent by another site.');
    return next();
  };
}

function isOwn(ctx: Koa.Context): boolean {
  const site = ctx.get('Sec-Fetch-Site');
  if (site !== '') return site === 'same-origin' || site === 'none';
  const { body } = ctx.request as { body?: Record<string, unknown> };
  return isSame(ctx.session.csrf, body?.[FIELD]);
}

/** In constant time, so that the token can't be guessed piece by piece. */
function isSame(expected: string | undefined, sent: unknown): boolean {
  if (expected === undefined || typeof sent !== 'string') return false;
  const [ours, theirs] = [Buffer.from(expected), Buffer.from(sent)];
  return ours.length === theirs.length && timingSafeEqual(ours, theirs);
}

/** The token as a hidden field, only for browsers that need one: the others get no session for looking at a form. */
export function csrfField(ctx: Koa.Context): Html {
  if (ctx.get('Sec-Fetch-Site') !== '') return new Html('');
  ctx.session.csrf ??= randomBytes(24).toString('base64url');
  return html`<input type="hidden" name="${FIELD}" value="${ctx.session.csrf}">`;
}
