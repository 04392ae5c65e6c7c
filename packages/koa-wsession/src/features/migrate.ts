import type * as Koa from 'koa';
import { hasPrefix, type Migrate } from '../kernel/options.js';
import type { SessionRequest } from '../kernel/request.js';
import { deletionOf, readCookies } from '../kernel/transport.js';
import type { SessionContent, SessionMembers } from '../types.js';

/**
 * Asks the app for the content of a session that the visitor has elsewhere, where there is none of ours. If the content
 * can't be stored, that concerns only requests that use the session.
 */
export async function importSession(migrate: Migrate, request: SessionRequest, ctx: Koa.Context): Promise<void> {
  if (!request.isOpen) return;
  const header = ctx.req.headers.cookie;
  const names = migrate.clear === undefined ? undefined : [migrate.clear].flat();
  const sent = names?.filter((name) => header !== undefined && readCookies(header, name).length > 0);
  if (sent?.length === 0) return;
  const object = await request.prepare((opened) => opened);
  if (!request.isOpen || !object?.lifecycle.isNew || object.lifecycle.replacedBy !== undefined) return;
  const content = await migrate(ctx);
  if (content !== undefined) {
    const isStored = await request.prepare(async ({ lifecycle }) => {
      object.replaceContent(withoutMembers(content));
      await lifecycle.save();
      return true;
    });
    if (!isStored) return;
    request.use();
  }
  for (const name of sent ?? []) {
    // A cookie can be deleted only with what its name demands.
    const attributes = hasPrefix(name) ? '; Path=/; Secure' : '; Path=/';
    request.addHeader('Set-Cookie', deletionOf(name, attributes));
  }
}

/** The names that every session has aren't data: `maxAge` sets the lifetime, the others are dropped. */
function withoutMembers(content: SessionContent): SessionContent {
  if (typeof content !== 'object' || content === null) return content; // to be refused
  const copy = Object.assign(Object.create(Object.getPrototypeOf(content)), content);
  for (const name of ['isNew', 'save', 'regenerate', 'destroy'] satisfies Array<keyof SessionMembers>)
    delete copy[name];
  return copy;
}
