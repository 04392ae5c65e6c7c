import type * as Koa from 'koa';
import type { Sessions } from 'koa-wsession';

const BROWSERS = ['Edg', 'OPR', 'Firefox', 'Chrome', 'Safari'];
const SYSTEMS = ['Android', 'iPhone', 'iPad', 'Windows', 'Mac OS', 'Linux'];

/** What a list of devices calls a browser: `Firefox on Linux`. User-Agent is a hint: any client can send any. */
export function labelOf(userAgent: string): string {
  const find = (names: readonly string[]): string => names.find((name) => userAgent.includes(name)) ?? 'unknown';
  return `${find(BROWSERS)} on ${find(SYSTEMS)}`;
}

/** Logs in, and sends a notice where none of the user's sessions came from such a device. */
export async function logInFrom(
  ctx: Koa.Context,
  sessions: Sessions,
  user: string,
  notify: (user: string, device: string, address: string) => Promise<void>,
): Promise<void> {
  const label = labelOf(ctx.get('User-Agent'));
  const others = await sessions.list(user);
  await sessions.of(ctx).logIn(user, { label });
  if (others.length > 0 && !others.some((one) => one.label === label)) await notify(user, label, ctx.ip);
}
