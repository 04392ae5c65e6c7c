import { hash } from 'node:crypto';
import {
  assertInTime,
  type Call,
  type DestroyCall,
  isRecord,
  type SessionRecord,
  type Store,
  standingOf,
} from 'koa-wsession/store';
import type { Revocations, Standing } from './revocation-list.js';
import type { Sealer } from './seal.js';

/** Milliseconds that requests may take: a token that is sealed a moment after a mark expires that much later. */
const MARGIN = 60_000;

const ALL = 'all';

/** In place of a session's name: marks are for sessions of all names. No cookie can have this one. */
const MARKS = 'ended sessions';

/**
 * Marks of what was ended, in a store that all processes share: one for a session, one for all sessions of a group whose
 * login was at an instant or before, and one for all sessions.
 *
 * Marks are records of the store like any other, under keys that no session has. They last as long as any token.
 */
export class SharedRevocations implements Revocations {
  readonly #store: Store;
  readonly #sealer: Sealer;
  readonly #longest: number;

  /** `longest`: milliseconds after its last change at which a session ends in any case. */
  constructor(store: Store, sealer: Sealer, longest: number) {
    this.#store = store;
    this.#sealer = sealer;
    this.#longest = longest;
  }

  /** Asks for all marks that may concern a session. */
  async standingOf(address: string, record: SessionRecord, call: Call): Promise<Standing> {
    assertInTime(call);
    if (!(Date.now() < record.updatedAt + this.#longest)) return 'expired';
    const { groups, since } = standingOf(call.name, record);
    const [own, ...marks] = await Promise.all([
      this.#load(keyOf('session', address), call),
      ...[ALL, ...groups].map((group) => this.#load(keyOf('until', group), call)),
    ]);
    if (own) return this.#toStanding(own);
    return marks.some((mark) => mark && since <= instantIn(mark)) ? undefined : 'alive';
  }

  async end(address: string, _until: number, call: DestroyCall): Promise<Standing> {
    assertInTime(call);
    const { by = '', until = 0 } = call.replaced ?? {};
    const key = keyOf('session', address);
    // The successor's key is its token: in the clear, whoever reads this store could send it.
    const record = this.#recordOf({ by: this.#sealer.seal(MARKS, by), until: String(until) });
    if ((await this.#store.create(key, record, { ...call, name: MARKS })).outcome === 'created') return 'alive';
    const mark = await this.#load(key, call);
    return mark && this.#toStanding(mark);
  }

  /** Ends all sessions of a group, or of all, whose login was at this instant or before. */
  async endUntil(group: string | undefined, instant: number, call: Call): Promise<void> {
    const key = keyOf('until', group ?? ALL);
    const record = this.#recordOf({ instant: String(instant) });
    const { entries: set, updatedAt, expiresAt } = record;
    const named = { ...call, name: MARKS };
    for (let outcome = ''; outcome !== 'created' && outcome !== 'updated'; ) {
      assertInTime(call);
      const mark = await this.#load(key, call);
      if (mark && instantIn(mark) >= instant) return;
      ({ outcome } = mark
        ? await this.#store.update(key, { set, delete: [], updatedAt, expiresAt, expect: mark.entries }, named)
        : await this.#store.create(key, record, named));
    }
  }

  async #load(key: string, call: Call): Promise<SessionRecord | undefined> {
    const mark = await this.#store.load(key, { ...call, name: MARKS });
    if (isRecord(mark)) return mark;
    if (mark !== 'seal' && mark !== 'corrupt') return undefined;
    throw new Error(`the mark of what was ended can't be read (${mark}): see the secrets of the store of revocations`);
  }

  #toStanding({ entries }: SessionRecord): Standing {
    const until = Number(entries.get('until'));
    return Date.now() < until ? { by: this.#sealer.open(MARKS, entries.get('by') ?? '') ?? '', until } : undefined;
  }

  #recordOf(entries: Record<string, string>): SessionRecord {
    const now = Date.now();
    const expiresAt = now + this.#longest + MARGIN;
    return { entries: new Map(Object.entries(entries)), createdAt: now, updatedAt: now, expiresAt, revision: 1 };
  }
}

/** A key like any other: 43 characters of base64url. */
function keyOf(kind: 'session' | 'until', what: string): string {
  return hash('sha256', `koa-wsession revocation ${kind}\0${what}`, 'base64url');
}

function instantIn({ entries }: SessionRecord): number {
  return Number(entries.get('instant'));
}
