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
import type { Standing } from './revocation-list.js';
import type { Sealer } from './seal.js';

/** Milliseconds that requests may take: a token that is sealed a moment after a mark expires that much later. */
const MARGIN = 60_000;

const ALL = 'all';

/** In place of a session's name: marks are for sessions of all names. No cookie can have this one. */
const MARKS = 'ended sessions';

/**
 * Marks of what was ended, in a store that all processes share: of a session, of a group, and of all sessions. Each says
 * up to which login it ends sessions; a session's own mark ends it whenever that was, and names the successor.
 *
 * Marks are records of the store like any other, under keys that no session has. They last as long as any token.
 */
export class SharedRevocations {
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
    if (!(Date.now() < record.updatedAt + this.#longest)) return 'expired';
    const { groups, since } = standingOf(call.name, record);
    const marks = await Promise.all([address, ALL, ...groups].map((what) => this.#load(what, call)));
    const mark = marks.find((one) => one && !(since > instantIn(one)));
    return mark ? this.#toStanding(mark) : 'alive';
  }

  /** Ends a session. Returns what it was before: another process may have ended it meanwhile. */
  async end(address: string, _until: number, call: DestroyCall): Promise<Standing> {
    const { by = '', until = 0 } = call.replaced ?? {};
    // The successor's key is its token: in the clear, whoever reads this store could send it.
    const entries = { instant: 'Infinity', by: this.#sealer.seal(MARKS, by), until: String(until) };
    const former = await this.#mark(address, entries, call);
    return former ? this.#toStanding(former) : 'alive';
  }

  /** Ends all sessions of a group, or of all, whose login was at this instant or before. */
  async endUntil(group: string | undefined, instant: number, call: Call): Promise<void> {
    await this.#mark(group ?? ALL, { instant: String(instant) }, call);
  }

  /** Leaves a mark, unless there is one that ends as much: returns that. */
  async #mark(what: string, entries: Record<string, string>, call: Call): Promise<SessionRecord | undefined> {
    const set = new Map(Object.entries(entries));
    const now = Date.now();
    const instants = { updatedAt: now, expiresAt: now + this.#longest + MARGIN };
    const record = { entries: set, createdAt: now, ...instants, revision: 1 };
    for (;;) {
      if ((await this.#store.create(keyOf(what), record, toMarks(call))).outcome === 'created') return undefined;
      const former = await this.#load(what, call);
      if (!former) continue;
      if (instantIn(former) >= instantIn(record)) return former;
      const changes = { set, delete: [], ...instants, expect: former.entries };
      if ((await this.#store.update(keyOf(what), changes, toMarks(call))).outcome === 'updated') return undefined;
    }
  }

  async #load(what: string, call: Call): Promise<SessionRecord | undefined> {
    const mark = await this.#store.load(keyOf(what), toMarks(call));
    if (isRecord(mark)) return mark;
    if (mark !== 'seal' && mark !== 'corrupt') return undefined;
    throw new Error(`the mark of what was ended can't be read (${mark}): see the secrets of the store of revocations`);
  }

  #toStanding({ entries }: SessionRecord): Standing {
    const until = Number(entries.get('until'));
    return Date.now() < until ? { by: this.#sealer.open(MARKS, entries.get('by') ?? '') ?? '', until } : undefined;
  }
}

/** A key like any other: 43 characters of base64url. Addresses, groups and `ALL` are never the same. */
function keyOf(what: string): string {
  return hash('sha256', `koa-wsession revocation\0${what}`, 'base64url');
}

/** For a step that may follow another one, or a wait. */
function toMarks<T extends Call>(call: T): T {
  assertInTime(call);
  return { ...call, name: MARKS };
}

function instantIn({ entries }: SessionRecord): number {
  return Number(entries.get('instant'));
}
