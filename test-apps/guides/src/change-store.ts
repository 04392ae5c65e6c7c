import type * as Koa from 'koa';
import type { Sessions } from 'koa-wsession';

/**
 * Middleware, after `sessions`: moves the session that the visitor still has in the former store, of another name.
 * `former` is `session(formerStore, { name, … })` with its former options, and isn't used as middleware.
 */
export function moveSessions(former: Sessions, name: string, sessions: Sessions): Koa.Middleware {
  return async (ctx, next) => {
    if (ctx.cookies.get(name) && ctx.session.isNew) {
      const session = await former.open(ctx.req, { app: ctx.app, response: ctx.res });
      if (!session.isNew) {
        const { owner, label } = former.of(session);
        Object.assign(ctx.session, session);
        if (session.maxAge !== undefined) ctx.session.maxAge = session.maxAge;
        if (owner !== undefined) await sessions.of(ctx).logIn(owner, { ...(label !== undefined && { label }) });
        await ctx.session.save();
        await former.of(session).logOut();
      }
    }
    return next();
  };
}
