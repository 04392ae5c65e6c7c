import type { Call } from 'koa-wsession/store';
import type { Send } from './client.js';
import { ReplyError } from './errors.js';
import { toList } from './record.js';

/** The addresses of the sessions on one server, in batches. `prefix` is all that comes before an address in its key. */
export async function* scan(primary: Send, prefix: string, call: () => Call): AsyncGenerator<readonly string[]> {
  const match = prefix.replace(/[*?[\]\\]/g, '\\$&') + '?'.repeat(43);
  const run = await runOf(primary, call());
  let cursor: string | null = '0';
  do {
    const reply = await primary(['scan', cursor, 'MATCH', match, 'COUNT', '1000'], call().deadline);
    if (!Array.isArray(reply)) throw new ReplyError();
    [cursor = null] = toList([reply[0]]);
    if (cursor === null) throw new ReplyError();
    const keys = toList(reply[1]).map((key) => key?.slice(prefix.length) ?? '');
    const addresses = keys.filter((key) => /^[\w-]{43}$/.test(key)); // no other program's, and none of the index
    if (addresses.length > 0) yield addresses;
  } while (cursor !== '0');
  if ((await runOf(primary, call())) !== run) {
    throw new Error('Redis was restarted or replaced during the scan, which may have missed sessions: scan again');
  }
}

/** A cursor means something to one run of one server only. `undefined` where the user mayn't know. */
async function runOf(primary: Send, { deadline }: Call): Promise<string | undefined> {
  const info = await primary(['info', 'server'], deadline).catch(() => '');
  return /^run_id:(\w+)/m.exec(String(info))?.[1];
}
