import assert from 'node:assert/strict';
import type { Reply } from '../http/site.js';

/** One request of a round: what it did, and what was acknowledged. */
export interface RacingRequest {
  readonly number: number;
  /** Which of the ids that the session has had over time it came with. */
  readonly came: number;
  /** The generation of the id that it works with; `undefined`: not with the session that all share. */
  generation: number | undefined;
  /** Whether its id led nowhere when it came, though the session wasn't expired. */
  isLate: boolean;
  /** Whether it called `logIn`. */
  isLogin: boolean;
  /** Whether it logged in to a session of its own. */
  hasOwnLogin: boolean;
  /** Keys that it set, and messages that it left, and that were not acknowledged so far. */
  keys: string[];
  messages: string[];
  reply?: Reply;
}

/** What a browser sees in the end. */
export interface Seen {
  readonly cookie: string;
  readonly owner: string | undefined;
  readonly data: Readonly<Record<string, unknown>>;
}

/**
 * What may be there in the end. The session begins logged in, at generation 0; each `regenerate()` and `logIn()` moves
 * it to the next one. A login never fails: where the id was replaced or ended meanwhile, it makes a session of its own,
 * and which of two logins at once did so can't be told from outside. Such a round promises less; see `#isClear`.
 */
export class RaceModel {
  readonly #merges: boolean;
  /** All cookies of the shared session, with the generation of their ids, and those of separate logins. */
  readonly cookies: Map<string, number> = new Map();
  readonly separate: Set<string> = new Set();
  readonly #regenerated: Set<number> = new Set();
  readonly #loggedIn: Map<number, number> = new Map();
  readonly #destroyed: Set<number> = new Set();
  readonly #stored: Set<string> = new Set();
  readonly #refused: Set<string> = new Set();
  readonly #left: Set<string> = new Set();
  readonly #taken: Set<string> = new Set();
  readonly #requests: RacingRequest[] = [];
  #count = 0;
  expired = false;

  constructor(merges: boolean) {
    this.#merges = merges;
  }

  /** The cookie that a browser has which took every one that came. */
  get newest(): string {
    const newest = Math.max(...this.cookies.values());
    return [...this.cookies].findLast(([, generation]) => generation === newest)?.[0] as string;
  }

  /** Everything there is by now has ended. */
  expire(): void {
    this.expired = true;
    this.separate.clear();
    for (const request of this.#requests) request.hasOwnLogin = false;
  }

  begin(number: number, cookie: string, isThere: boolean): RacingRequest {
    const came = this.cookies.get(cookie) as number;
    const generation = isThere ? came : undefined;
    const isLate = !isThere && !this.expired;
    const request = {
      number,
      came,
      generation,
      isLate,
      isLogin: false,
      hasOwnLogin: false,
      keys: [],
      messages: [],
    };
    this.#requests.push(request);
    return request;
  }

  /** Everything that the request assigned so far is stored. */
  acknowledge(request: RacingRequest): void {
    if (request.generation !== undefined) {
      for (const key of request.keys) this.#stored.add(key);
      for (const message of request.messages) this.#left.add(message);
    }
    this.forget(request);
  }

  /** What the request assigned so far may be stored or not. */
  forget(request: RacingRequest): void {
    request.keys = [];
    request.messages = [];
  }

  updated(request: RacingRequest): void {
    if (request.generation !== undefined) this.#count++;
    this.acknowledge(request);
  }

  took(request: RacingRequest, messages: readonly string[]): void {
    for (const message of messages) {
      if (this.#merges) assert.ok(!this.#taken.has(message), `the message ${message} was taken twice`);
      this.#taken.add(message);
    }
    this.forget(request);
  }

  regenerated(request: RacingRequest): void {
    this.acknowledge(request);
    if (request.generation !== undefined) this.#regenerated.add(request.generation++);
  }

  loggedIn(request: RacingRequest): void {
    request.isLogin = true;
    this.acknowledge(request);
    if (request.generation !== undefined && !this.expired) {
      this.#loggedIn.set(request.generation, (this.#loggedIn.get(request.generation) ?? 0) + 1);
      request.generation++;
      return;
    }
    request.generation = undefined;
    request.hasOwnLogin = true;
  }

  destroyed(request: RacingRequest): void {
    if (request.generation !== undefined) this.#destroyed.add(request.generation);
    request.generation = undefined; // what it assigns from here on belongs to a session of its own
    request.hasOwnLogin = false;
    this.forget(request);
  }

  replied(request: RacingRequest, reply: Reply, cookie: string | undefined): void {
    request.reply = reply;
    assert.ok(reply.status === 200 || reply.status === 409, `${reply.status}: ${reply.text}`);
    if (reply.status === 409) {
      for (const key of request.keys) this.#refused.add(key);
      return;
    }
    this.acknowledge(request);
    if (!reply.setCookie || cookie === undefined) return;
    if (request.generation !== undefined) this.cookies.set(cookie, request.generation);
    else if (request.hasOwnLogin) this.separate.add(cookie);
  }

  verify(seen: readonly Seen[]): void {
    const alive = seen.filter(({ owner }) => owner !== undefined);
    const messages = new Set(this.#taken);
    for (const { owner, data } of alive) {
      assert.equal(owner, 'ada');
      if (!this.#merges) continue;
      for (const key of this.#refused) assert.ok(!(key in data), `${key} was refused`);
      for (const message of data.messages as string[]) {
        assert.ok(!messages.has(message), `the message ${message} was taken twice`);
        messages.add(message);
      }
    }
    for (const cookie of this.separate) {
      assert.ok(
        alive.some((one) => one.cookie === cookie),
        'a login that succeeded holds',
      );
    }
    const shared = alive.filter(({ cookie }) => this.cookies.has(cookie));
    if (this.expired) assert.equal(shared.length, 0, 'an expired session stays expired');
    else if (this.#isClear()) this.#verifyClear(shared, messages);
  }

  #verifyClear(alive: readonly Seen[], messages: ReadonlySet<string>): void {
    for (const { came, isLate, isLogin, reply } of this.#requests) {
      const isReplaced = isLate && this.#moved(came) && !isLogin;
      if (isReplaced) assert.equal(reply?.setCookie, undefined, 'a replaced id gets no cookie');
    }
    if ([...this.#destroyed].some((generation) => !this.#moved(generation))) {
      assert.equal(alive.length, 0, 'a session that was ended stays ended');
      return;
    }
    assert.ok(alive.length > 0, 'the session is there');
    const newest = Math.max(...this.cookies.values());
    for (const { cookie } of alive) assert.equal(this.cookies.get(cookie), newest, 'an old id is worthless');
    if (!this.#merges) return;
    const { data } = alive[0] as Seen;
    for (const key of this.#stored) assert.ok(key in data, `${key} was acknowledged`);
    assert.equal(data.n, this.#count, 'each update counts once');
    for (const message of this.#left) assert.ok(messages.has(message), `the message ${message} is lost`);
  }

  #moved(generation: number): boolean {
    return this.#regenerated.has(generation) || this.#loggedIn.has(generation);
  }

  /** Whether each login surely moved the shared session: nothing else moved or ended that generation. */
  #isClear(): boolean {
    return [...this.#loggedIn].every(
      ([generation, logins]) => logins === 1 && !this.#regenerated.has(generation) && !this.#destroyed.has(generation),
    );
  }
}
