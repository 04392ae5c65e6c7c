import type Koa from 'koa';
import type { Migrate, SessionContent } from 'koa-wsession';

/** Sessions that iron-session kept in its cookie. `unseal`: iron-session's `unsealData`, with the password and the ttl. */
export function fromIronSession(cookieName: string, unseal: (seal: string) => Promise<object>): Migrate {
  const read = async (ctx: Koa.Context): Promise<SessionContent | undefined> => {
    const seal = ctx.cookies.get(cookieName);
    // A forged seal is an error, or, as one that has expired, an empty object.
    const content = seal ? await unseal(seal).catch(() => ({})) : {};
    return Object.keys(content).length > 0 ? { ...content } : undefined;
  };
  return Object.assign(read, { clear: cookieName });
}
