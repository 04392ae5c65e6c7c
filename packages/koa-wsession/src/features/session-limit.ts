import { SessionLimitError } from '../errors.js';
import { AUTHENTICATED_KEY, FORMER_KEY } from '../kernel/entries.js';
import type { MaxSessions } from '../kernel/options.js';
import type { ReplaceSituation } from '../kernel/replacing.js';
import { addressOf, newId } from '../kernel/token.js';
import type { Awaitable, Call, SessionIndex, SessionRecord } from '../store/store.js';
import { OWNER_KEY } from './owner-index.js';
import { type Owners, readString } from './owners.js';

/**
 * The seat that a session takes among those of its owner: it keeps it under each new id, and a login that was clicked
 * twice takes one seat with both sessions.
 */
export const SEAT_KEY: string = '\0seat';

/** Longer than any login takes, in milliseconds. */
const CLAIM_LIFETIME = 60_000;

/** As long as any session lives without a change. */
const SEAT_LIFETIME: number = 400 * 86_400_000;

/** Returns the seat that a login takes. @throws SessionLimitError */
export type SeatFor = (situation: ReplaceSituation) => Promise<string>;

/** A session and those that are about to take its place, which count once. */
interface Line {
  readonly origin: string;
  readonly keys: string[];
  readonly seat: string;
  readonly at: number;
}

/**
 * Limits how many sessions an owner has.
 *
 * *End the oldest* counts once the new session is in the index and in the store, so the login that counts last sees all.
 * *Refuse* takes a seat before: a member of a group of the index with at most so many members, which is one atomic step.
 * Seats aren't given back, since sessions also expire: where none is left, those of ended sessions are removed. A login
 * in progress, whose session isn't stored yet, has a claim to its seat.
 */
export class SessionLimit {
  readonly #owners: Owners;
  readonly #limit: number;
  readonly #refuses: boolean;

  constructor(owners: Owners, { limit, then }: Required<MaxSessions>) {
    this.#owners = owners;
    this.#limit = limit;
    this.#refuses = then === 'refuse';
  }

  /** Runs a login, which is to store the seat that it is given. @throws SessionLimitError */
  async guard(owner: string, logIn: (seatFor: SeatFor) => Promise<void>): Promise<void> {
    let seat: string | undefined;
    try {
      await logIn(async (situation) => {
        seat = this.#seatFor(owner, situation);
        if (this.#refuses) await this.#admit(owner, seat);
        return seat;
      });
    } finally {
      if (seat !== undefined && this.#refuses) await this.#giveUpClaim(owner, seat);
    }
    if (seat !== undefined) await this.#enforce(owner, seat);
  }

  #seatFor(owner: string, { entries, successor, key }: ReplaceSituation): string {
    const own = [entries, successor].find((one) => one?.get(OWNER_KEY) === owner);
    return readString(own?.get(SEAT_KEY)) ?? key ?? addressOf(this.#owners.tokens.options.name, newId());
  }

  /** Takes a seat for a login, or refuses the login. */
  async #admit(owner: string, seat: string): Promise<void> {
    await this.#call(owner, 'claims', (index, group, call) =>
      index.add(group, seat, Date.now() + CLAIM_LIFETIME, call),
    );
    const taken = await this.#seatsOf(owner);
    const isNew = !taken.has(seat);
    // Live sessions count, too: some may have begun before the limit was set, and hold no seat.
    if (isNew && taken.size >= this.#limit) throw new SessionLimitError(this.#limit);
    if (await this.#take(owner, seat, isNew)) return;
    await this.#removeEmpty(owner);
    if (!(await this.#take(owner, seat, isNew))) throw new SessionLimitError(this.#limit);
  }

  #giveUpClaim(owner: string, seat: string): Promise<void> {
    return this.#call(owner, 'claims', (index, group, call) => index.remove(group, seat, call));
  }

  /** Once a login is stored: ends what exceeds the limit. */
  async #enforce(owner: string, seat: string): Promise<void> {
    for (;;) {
      const lines = toLines(await this.#owners.live(owner));
      const excess = lines.length - this.#limit;
      if (excess <= 0) return;
      // Of two sessions that were made by clicking twice, the visitor uses the later one.
      const isTwin = (line: Line): boolean => lines.some((one) => one.seat === line.seat && isLater(one, line));
      const twins = lines.filter(isTwin);
      const candidates = this.#refuses
        ? twins.filter((line) => line.seat === seat)
        : [...new Set([...twins, ...lines])];
      if (candidates.length === 0) return;
      for (const { keys } of candidates.slice(0, excess)) for (const key of keys) await this.#owners.end(key);
    }
  }

  /** Takes a seat: one of so many, if it isn't taken already. */
  async #take(owner: string, seat: string, isLimited: boolean): Promise<boolean> {
    const until = Date.now() + SEAT_LIFETIME;
    return this.#call(owner, 'seats', (index, group, call) =>
      index.add(group, seat, until, { ...call, ...(isLimited && { limit: this.#limit }) }),
    );
  }

  /** Removes seats without a live session. In this order: a claim is given up once its session is stored. */
  async #removeEmpty(owner: string): Promise<void> {
    const seats = await this.#call(owner, 'seats', (index, group, call) => index.keys(group, call));
    const claims = await this.#call(owner, 'claims', (index, group, call) => index.keys(group, call));
    const taken = await this.#seatsOf(owner);
    for (const seat of seats)
      if (!claims.includes(seat) && !taken.has(seat))
        await this.#call(owner, 'seats', (index, group, call) => index.remove(group, seat, call));
  }

  async #seatsOf(owner: string): Promise<Set<string>> {
    return new Set(toLines(await this.#owners.live(owner)).map(({ seat }) => seat));
  }

  async #call<T>(
    owner: string,
    kind: 'seats' | 'claims',
    operation: (index: SessionIndex, group: string, call: Call) => Awaitable<T>,
  ): Promise<T> {
    const { tokens } = this.#owners;
    const group = addressOf(tokens.options.name, `${kind}:${owner}`);
    return tokens.call('save', group, (call) => operation(tokens.store.index as SessionIndex, group, call));
  }
}

/**
 * Groups an owner's sessions into lines, the oldest first. A session that is given a new id and its successor form one
 * line. So do several sessions that are about to take the place of the same one, since only one of them will.
 */
function toLines(live: ReadonlyMap<string, SessionRecord>): Line[] {
  const originOf = (key: string): string => {
    const record = live.get(key);
    const former = record && readString(record.entries.get(FORMER_KEY));
    return former === undefined ? key : originOf(former);
  };
  const lines = new Map<string, Line>();
  for (const [key, { entries, createdAt }] of live) {
    const origin = originOf(key);
    const at = Number(entries.get(AUTHENTICATED_KEY) ?? createdAt);
    const line = lines.get(origin) ?? { origin, keys: [], at, seat: readString(entries.get(SEAT_KEY)) ?? origin };
    lines.set(origin, { ...line, keys: [...line.keys, key], at: Math.max(line.at, at) });
  }
  return [...lines.values()].sort((a, b) => (isLater(a, b) ? 1 : -1));
}

/** By the time of the login, then by key, so that all processes agree. */
function isLater(a: Line, b: Line): boolean {
  return a.at === b.at ? a.origin > b.origin : a.at > b.at;
}
