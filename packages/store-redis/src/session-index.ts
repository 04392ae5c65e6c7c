import type { Call, SessionIndex } from 'koa-wsession/store';
import type { Argument } from './client.js';
import { ReplyError } from './errors.js';
import { toList } from './record.js';
import { INDEX_ADD, INDEX_KEYS, INDEX_REMOVE, type Script } from './scripts.js';

/** Runs a script on one of the store's keys. */
export type Run = (script: Script, key: string, args: Argument[], call: Call) => Promise<unknown>;

/** The index: a key for each group, next to those of the sessions. No address has a `:`. */
export function createIndex(run: Run): SessionIndex {
  const keyOf = (group: string): string => `group:${group}`;
  return {
    async add(group, key, until, call) {
      const [outcome] = toList(await run(INDEX_ADD, keyOf(group), [key, until, call.limit ?? ''], call));
      if (outcome !== 'added' && outcome !== 'full') throw new ReplyError();
      return outcome === 'added';
    },
    async remove(group, key, call) {
      const [outcome] = toList(await run(INDEX_REMOVE, keyOf(group), [key], call));
      if (outcome !== 'removed') throw new ReplyError();
    },
    async keys(group, call) {
      return toList(await run(INDEX_KEYS, keyOf(group), [Date.now()], call)).map((key) => {
        if (key === null) throw new ReplyError();
        return key;
      });
    },
  };
}
