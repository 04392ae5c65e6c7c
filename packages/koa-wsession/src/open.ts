import { type IncomingMessage, ServerResponse } from 'node:http';
import type { TLSSocket } from 'node:tls';
import type Koa from 'koa';
import type { Settings } from './options.js';
import type { Session } from './types.js';
import { Visit } from './visit.js';

/** What `sessions.open(request, …)` may be given beside the request. */
export interface OpenOptions {
  /** Where a new token can be written to, if one is due. Without it, what would need one is a NoResponseError. */
  readonly response?: ServerResponse;
  /**
   * The app, for its `keys` and for `proxy`: with them ids are verified and https is recognised as in its own requests.
   * Needed where the ids are signed with `app.keys`; a list of `keys` among the session's options serves as well.
   */
  readonly app?: Koa;
}

/** Opens the session of a request that doesn't come through Koa. */
export async function openOutside(
  settings: Settings,
  request: IncomingMessage,
  { response, app }: OpenOptions,
): Promise<Session> {
  const visit = new Visit(
    {
      req: request,
      res: response,
      secure: app
        ? app.createContext(request, response ?? new ServerResponse(request)).secure
        : (request.socket as TLSSocket).encrypted === true,
      app: app ?? { emit: () => false },
    },
    settings,
  );
  await visit.preload();
  return visit.session;
}
