import { hash } from 'node:crypto';
import { type Call, isRecord, type Replacement, type SessionRecord, type Store, standingOf } from 'koa-wsession/store';

/** Milliseconds that requests may take: a token that is sealed a moment after a mark expires that much later. */
const MARGIN = 60_000;

/** What a session is at the moment: alive, ended, or going on under another token. */
export type Standing = 'alive' | 'ended' | Replacement;

const ALL = 'all';

/**
 * Marks of what was ended, in a store that all processes share: one for a session, one for all sessions of a group whose
 * login was at an instant or before, and one for all sessions.
 *
 * Marks are records of the store like any other, under keys that no session has. They last as long as any token.
 */
export class SharedRevocations {
  readonly #store: Store;
  readonly #lifetime: number;

  /** `lifetime`: of the longest token, in milliseconds. */
  constructor(store: Store, lifetime: number) {
    this.#store = store;
    this.#lifetime = lifetime;
  }

  /** Asks for all marks that may concern a session. */
  async standingOf(address: string, record: SessionRecord, call: Call): Promise<Standing> {
    assertInTime(call);
    const { groups, since } = standingOf(call.name, record);
    const [own, ...instants] = await Promise.all([
      this.#store.load(keyOf('session', address), call),
      ...[ALL, ...groups].map((group) => this.#store.load(keyOf('until', group), call)),
    ]);
    if (own && isRecord(own)) return toStanding(own);
    const isEnded = instants.some((mark) => isRecord(mark) && since <= instantIn(mark));
    return isEnded ? 'ended' : 'alive';
  }

  /** Ends a session. `alive`: this call did; else what it was already. */
  async end(address: string, replaced: Replacement | undefined, call: Call): Promise<Standing> {
    assertInTime(call);
    const key = keyOf('session', address);
    const entries = new Map(
      replaced && [
        ['by', replaced.by],
        ['until', String(replaced.until)],
      ],
    );
    const answer = await this.#store.create(key, this.#recordOf(entries), call);
    if (answer.outcome === 'created') return 'alive';
    const mark = await this.#store.load(key, call);
    return isRecord(mark) ? toStanding(mark) : 'ended';
  }

  /** Ends all sessions of a group, or of all, whose login was at this instant or before. */
  async endUntil(group: string | undefined, instant: number, call: Call): Promise<void> {
    const key = keyOf('until', group ?? ALL);
    const set = new Map([['instant', String(instant)]]);
    for (;;) {
      assertInTime(call);
      const mark = await this.#store.load(key, call);
      if (!isRecord(mark)) {
        if ((await this.#store.create(key, this.#recordOf(set), call)).outcome === 'created') return;
        continue;
      }
      if (instantIn(mark) >= instant) return;
      const { updatedAt, expiresAt } = this.#recordOf(set);
      const expect = new Map([['instant', mark.entries.get('instant')]]);
      const answer = await this.#store.update(key, { set, delete: [], updatedAt, expiresAt, expect }, call);
      if (answer.outcome === 'updated') return;
    }
  }

  #recordOf(entries: ReadonlyMap<string, string>): SessionRecord {
    const now = Date.now();
    return { entries, createdAt: now, updatedAt: now, expiresAt: now + this.#lifetime + MARGIN, revision: 1 };
  }
}

/** The store may keep everything in memory, and not look at the deadline. */
function assertInTime({ deadline }: Call): void {
  if (performance.now() > deadline) throw new Error('the call was abandoned: the request timed out');
}

/** A key like any other: 43 characters of base64url. */
function keyOf(kind: 'session' | 'until', what: string): string {
  return hash('sha256', `koa-wsession revocation ${kind}\0${what}`, 'base64url');
}

function instantIn({ entries }: SessionRecord): number {
  return Number(entries.get('instant'));
}

function toStanding({ entries }: SessionRecord): Standing {
  const mark: Replacement = { by: entries.get('by') ?? '', until: Number(entries.get('until') ?? 0) };
  return Date.now() < mark.until ? mark : 'ended';
}
