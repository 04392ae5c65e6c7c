import type { Call } from 'koa-wsession/store';
import type { Limit, Send } from './client.js';
import { ReplyError } from './errors.js';
import { toList } from './record.js';

/* What is asked of a server, and not of a key. */

/** The addresses of the sessions on one server, in batches. `prefix` is all that comes before an address in its key. */
export async function* scan(primary: Send, prefix: string, call: () => Call): AsyncGenerator<readonly string[]> {
  const match = prefix.replace(/[*?[\]\\]/g, '\\$&') + '?'.repeat(43);
  const run = await runOf(primary, call());
  let cursor: string | null | undefined = '0';
  do {
    const reply = await primary(['scan', cursor, 'MATCH', match, 'COUNT', '1000'], call());
    [cursor] = toList([Object(reply)[0]]);
    if (typeof cursor !== 'string') throw new ReplyError();
    const keys = toList(Object(reply)[1]).map((key) => key?.slice(prefix.length) ?? '');
    const addresses = keys.filter((key) => /^[\w-]{43}$/.test(key)); // no other program's, and none of the index
    if (addresses.length > 0) yield addresses;
  } while (cursor !== '0');
  if ((await runOf(primary, call())) !== run)
    throw new Error('Redis was restarted or replaced during the scan, which may have missed sessions: scan again');
}

/** A cursor means something to one run of one server only. `undefined` where the user mayn't know. */
async function runOf(primary: Send, call: Call): Promise<string | undefined> {
  return /^run_id:(\w+)/m.exec(await infoOf(primary, 'server', call))?.[1];
}

/**
 * Warns if Redis evicts keys when its memory is full: it takes the index, which is used at logins only, before sessions in
 * use. Says nothing where the client's user isn't permitted to ask.
 */
export async function warnOfEviction(primaries: Promise<Send[]>): Promise<void> {
  const [primary] = await primaries.catch(() => []);
  const info = primary ? await infoOf(primary, 'memory', { deadline: performance.now() + 10_000 }) : '';
  const policy = /^maxmemory_policy:((?:allkeys|volatile)-[\w-]+)/m.exec(info)?.[1];
  if (policy === undefined) return;
  process.emitWarning(
    `Redis has the maxmemory-policy ${policy}: when its memory is full, it evicts sessions, and the index by which ` +
      'sessions are listed and revoked. Set maxmemory-policy noeviction.',
    { code: 'WSESSION_EVICTION' },
  );
}

async function infoOf(primary: Send, section: string, limit: Limit): Promise<string> {
  return String(await primary(['info', section], limit).catch(() => ''));
}
