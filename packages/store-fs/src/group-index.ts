import { type Absent, type Call, isRecord, type SessionIndex, type SessionRecord } from 'koa-wsession/store';
import type { RecordFiles } from './record-files.js';

/** Each session of a group, with the instant until which it is listed. */
type Listed = Map<string, number>;

/** Stands in a list for the sessions that were lost with a damaged file; no session has this key. */
const LOST = '';

/** No session lives longer: after that, nothing is missing any more. */
const MAX_LIFETIME: number = 400 * 86_400_000;

/**
 * Groups of sessions: one file each, with a record of the sessions' addresses and their instants.
 *
 * Where a file is damaged, sessions may be missing from its list, so `keys` rejects, and the sweep leaves the file. New
 * sessions are still added: the next file remembers the loss.
 */
export class GroupIndex implements SessionIndex {
  readonly #files: RecordFiles;

  constructor(files: RecordFiles) {
    this.#files = files;
  }

  /** @throws the file system's error, a LockError or a TimeoutError */
  add(group: string, key: string, until: number, call: Call & { readonly limit?: number }): Promise<boolean> {
    return this.#files.change(group, call, (found) => {
      const listed = list(found);
      const before = listed.get(key);
      const count = listed.size - (listed.has(LOST) ? 1 : 0);
      if (before === undefined && count >= (call.limit ?? Number.POSITIVE_INFINITY)) return { answer: false };
      return until > (before ?? 0) ? { answer: true, content: toRecord(listed.set(key, until)) } : { answer: true };
    });
  }

  /** @throws the file system's error, a LockError or a TimeoutError */
  remove(group: string, key: string, call: Call): Promise<void> {
    return this.#files.change(group, call, (found) => {
      const listed = list(found);
      if (!listed.delete(key)) return { answer: undefined };
      return { answer: undefined, content: listed.size > 0 ? toRecord(listed) : null };
    });
  }

  /** @throws the file system's error; an Error where the file was damaged, so that sessions may be missing */
  async keys(group: string, call: Call): Promise<string[]> {
    const listed = list(await this.#files.read(group, call));
    if (listed.has(LOST))
      throw new Error(
        `The session index ${this.#files.pathOf(group)} was damaged and may lack sessions: ` +
          'end all sessions with revokeAll(), then delete the file',
      );
    return [...listed.keys()];
  }
}

/** Those whose instant hasn't come yet. */
function list(found: SessionRecord | Absent): Listed {
  const listed: Listed = new Map();
  if (!found || found === 'expired') return listed;
  const now = Date.now();
  if (!isRecord(found)) return listed.set(LOST, now + MAX_LIFETIME);
  for (const [key, until] of found.entries) if (now < Number(until)) listed.set(key, Number(until));
  return listed;
}

/** Lives as long as the last of them. */
function toRecord(listed: Listed): SessionRecord {
  const now = Date.now();
  const entries = new Map(Array.from(listed, ([key, until]) => [key, String(until)]));
  // No Math.max(...): a list may be longer than the arguments that the stack holds.
  const expiresAt = [...listed.values()].reduce((last, until) => Math.max(last, Math.ceil(until)), now);
  return { entries, createdAt: now, updatedAt: now, expiresAt, revision: 1 };
}
