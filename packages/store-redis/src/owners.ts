import type { Call, OwnerIndex } from 'koa-wsession';
import type { Argument } from './client.js';
import { ReplyError, toList } from './reply.js';
import { OWNER_ADD, OWNER_KEYS, OWNER_REMOVE, type Script } from './scripts.js';

/** Runs a script on one of the store's keys. */
export type Run = (script: Script, key: string, args: Argument[], call: Call) => Promise<unknown>;

/** The index of who owns which sessions: a key for each owner, beside those of the sessions. */
export function ownersIn(run: Run): OwnerIndex {
  const keyOf = (owner: string): string => `owner:${owner}`;
  return {
    async add(owner, key, until, call) {
      expectReply('added', await run(OWNER_ADD, keyOf(owner), [Date.now(), key, until], call));
    },
    async remove(owner, key, call) {
      expectReply('removed', await run(OWNER_REMOVE, keyOf(owner), [Date.now(), key], call));
    },
    async keys(owner, call) {
      return toList(await run(OWNER_KEYS, keyOf(owner), [Date.now()], call)).map((key) => {
        if (key === null) throw new ReplyError();
        return key;
      });
    },
  };
}

function expectReply(expected: string, reply: unknown): void {
  if (toList(reply)[0] !== expected) throw new ReplyError();
}
