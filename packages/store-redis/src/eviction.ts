import type { Send } from './client.js';

/**
 * Warns if Redis evicts keys when its memory is full: it takes the index, which is used at logins only, before sessions in
 * use. Says nothing where the client's user isn't permitted to ask.
 */
export async function warnOfEviction(primaries: Promise<Send[]>): Promise<void> {
  const info = await primaries
    .then(([primary]) => primary?.(['info', 'memory'], performance.now() + 10_000))
    .catch(() => '');
  const policy = /^maxmemory_policy:((?:allkeys|volatile)-[\w-]+)/m.exec(String(info))?.[1];
  if (policy === undefined) return;
  process.emitWarning(
    `Redis has the maxmemory-policy ${policy}: when its memory is full, it evicts sessions, and the index by which ` +
      'sessions are listed and revoked. Set maxmemory-policy noeviction.',
    { code: 'WSESSION_EVICTION' },
  );
}
