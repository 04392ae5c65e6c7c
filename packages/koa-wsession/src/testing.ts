import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type * as Koa from 'koa';
import type { Owner } from './features/owners.js';
import type { Sessions } from './sessions.js';
import type { SessionData } from './types.js';

/** What `agentCookie` may be given besides the content. */
export interface AgentOptions {
  /** The app, where it signs ids with `app.keys`. */
  readonly app?: Koa.Context['app'];
  /** The session's owner. */
  readonly owner?: Owner;
}

/**
 * A Cookie header of a visitor whose session has this content, in whatever store the app uses, so that a test can begin
 * where somebody is logged in:
 *
 * ```ts
 * const cookie = await agentCookie(sessions, { user: 'ada' });
 * await request(app.callback()).get('/account').set('Cookie', cookie).expect(200);
 * ```
 * @throws as `ctx.session.save()`; an Error where the sessions don't travel in a cookie, or the content is empty
 */
export async function agentCookie(
  sessions: Sessions,
  content: SessionData,
  { app, owner }: AgentOptions = {},
): Promise<string> {
  // A request over TLS, so that `secure` sessions can be had as well.
  const request = new IncomingMessage(new TLSSocket(new Socket()));
  const response = new ServerResponse(request);
  const session = await sessions.open(request, { response, ...(app && { app }) });
  Object.assign(session, content);
  if (owner === undefined) await session.save();
  else await sessions.of(session).logIn(owner);
  const [line] = [response.getHeader('Set-Cookie') ?? []].flat();
  if (line === undefined)
    throw new Error('There is no cookie: the content is empty, or the sessions travel in a header.');
  return String(line).split(';', 1)[0] as string;
}
