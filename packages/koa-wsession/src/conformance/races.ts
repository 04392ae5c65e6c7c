import assert from 'node:assert/strict';
import { Clock } from './clock.js';
import type { Subject, TestRunner } from './index.js';
import { type AnyContext, type Reply, type Visitor, type World, Worlds } from './world.js';

/** How many rounds are tried; `CONFORMANCE_ROUNDS` and `CONFORMANCE_SEED` set other ones. */
const ROUNDS = Number(process.env.CONFORMANCE_ROUNDS ?? 40);

type Step = 'read' | 'set' | 'update' | 'save' | 'regenerate' | 'destroy';

/** Likelier steps stand here more often. */
const STEPS: readonly Step[] = [
  'read',
  'set',
  'set',
  'set',
  'update',
  'update',
  'update',
  'save',
  'save',
  'regenerate',
  'destroy',
];

/**
 * Several requests over one session, each a few random steps, in a random order; and a small model of what may be
 * there in the end. Every step waits until it is its turn, and the turns come from a seed.
 */
export function describeRaces({ it, afterEach }: TestRunner, subject: Subject): void {
  const worlds = new Worlds(subject);
  const clock = new Clock();
  afterEach(async () => {
    clock.restore();
    await worlds.close();
  });

  it(`of ${ROUNDS} random rounds lose nothing, bring nothing back and answer 200 or 409`, async () => {
    const seed = Number(process.env.CONFORMANCE_SEED ?? Date.now() % 2 ** 31);
    const random = makeRandom(seed);
    const table: { round?: Round } = {};
    const world = await worlds.create({
      '/login': (ctx) => void Object.assign(ctx.session, { user: 'ada', n: 0 }),
      '/race': (ctx) => (table.round as Round).handle(ctx),
      '/get': (ctx) => ({ ...ctx.session }),
    });
    for (let number = 0; number < ROUNDS; number++) {
      const round = new Round(world, random, clock, subject.capabilities.merges);
      table.round = round;
      try {
        await round.run();
      } catch (error) {
        const story = `round ${number} of CONFORMANCE_SEED=${seed}:\n${round.history.join('\n')}`;
        throw new Error(`${(error as Error).message}\n${story}`);
      } finally {
        clock.restore();
      }
    }
  });
}

/** One request, and what was acknowledged to it. */
interface Request {
  readonly number: number;
  readonly steps: readonly Step[];
  /** Which of the ids that the session has had over time it is at work on; none for an anonymous visitor. */
  generation: number | undefined;
  /** Keys that it set and that nobody acknowledged so far. */
  pending: string[];
}

class Round {
  readonly history: string[] = [];
  readonly #world: World;
  readonly #random: (below: number) => number;
  readonly #clock: Clock;
  readonly #merges: boolean;
  readonly #requests: Request[];
  /** Requests at a turn, by what lets them go on. */
  readonly #waiting: Array<() => void> = [];
  #running = 0;
  #arrival: () => void = () => undefined;

  /** All cookies that there ever were, each with the generation of its id; the browser holds the newest. */
  readonly #cookies: Map<string, number> = new Map();
  #cookie: string | undefined;
  /** The model: what has to be there, what must not be, and which ids were regenerated or destroyed. */
  readonly #stored: Set<string> = new Set();
  readonly #refused: Set<string> = new Set();
  readonly #regenerated: Set<number> = new Set();
  readonly #destroyed: Set<number> = new Set();
  #count = 0;
  #expired = false;

  constructor(world: World, random: (below: number) => number, clock: Clock, merges: boolean) {
    this.#world = world;
    this.#random = random;
    this.#clock = clock;
    this.#merges = merges;
    this.#requests = Array.from({ length: 3 + random(5) }, (_, number) => ({
      number,
      steps: Array.from({ length: 1 + random(4) }, () => STEPS[random(STEPS.length)] as Step),
      generation: undefined,
      pending: [],
    }));
  }

  async run(): Promise<void> {
    const login = this.#world.visitor();
    await login.get('/login');
    this.#issue(login.cookie as string, 0);

    const replies: Promise<void>[] = [];
    const unstarted = [...this.#requests];
    while (unstarted.length > 0 || this.#running > 0) {
      const choice = this.#random(unstarted.length + this.#waiting.length + 1);
      if (choice < unstarted.length) replies.push(this.#send(unstarted.shift() as Request));
      else if (choice < unstarted.length + this.#waiting.length)
        this.#waiting.splice(this.#random(this.#waiting.length), 1)[0]?.();
      else if (this.#random(100) === 0) this.#expire();
      // What was let go is at work by now. Sometimes others join it, else it comes to its next turn first.
      const atWork = this.#running - this.#waiting.length;
      const idle = unstarted.length + this.#waiting.length === 0;
      if (atWork > 0 && (idle || this.#random(2) === 0)) await this.#somethingHappens();
    }
    await Promise.all(replies);
    await this.#verify();
  }

  /** Runs a request's steps; each waits for its turn. */
  async handle(ctx: AnyContext): Promise<void> {
    const request = this.#requests[Number(ctx.get('x-request'))] as Request;
    request.generation = ctx.session.user === 'ada' ? this.#cookies.get(ctx.get('cookie')) : undefined;
    for (const step of request.steps) {
      await this.#turn();
      const outcome = await this.#take(ctx, request, step);
      this.#note(request, `${step} ${outcome}`);
      if (outcome === 'WSESSION_GONE') ctx.throw(409, outcome);
    }
    await this.#turn();
  }

  async #take(ctx: AnyContext, request: Request, step: Step): Promise<string> {
    const { session } = ctx;
    try {
      switch (step) {
        case 'read':
          return JSON.stringify(session.user ?? null);
        case 'set': {
          const key = `r${request.number}k${request.pending.length}${this.history.length}`;
          session[key] = true;
          request.pending.push(key);
          return key;
        }
        case 'update': {
          const n = await session.update('n' as never, ((value = 0) => value + 1) as never);
          if (request.generation !== undefined) this.#count++;
          this.#acknowledge(request);
          return String(n);
        }
        case 'save':
          await session.save();
          this.#acknowledge(request);
          return 'done';
        case 'regenerate':
          await session.regenerate();
          this.#acknowledge(request);
          if (request.generation !== undefined) this.#regenerated.add(request.generation++);
          return 'done';
        case 'destroy':
          await session.destroy();
          if (request.generation !== undefined) this.#destroyed.add(request.generation);
          request.generation = undefined; // what it does from here on, it does to a session of its own
          request.pending = [];
          return 'done';
      }
    } catch (error) {
      return (error as { code?: string }).code ?? String(error);
    }
  }

  #acknowledge(request: Request): void {
    if (request.generation !== undefined) for (const key of request.pending) this.#stored.add(key);
    request.pending = [];
  }

  async #send(request: Request): Promise<void> {
    this.#running++;
    const visitor: Visitor = this.#world.visitor(this.#cookie);
    this.#note(request, `starts: ${request.steps.join(', ')}`);
    const reply: Reply = await visitor.get('/race', { 'x-request': String(request.number) });
    this.#note(request, `is answered ${reply.status}${reply.setCookie ? ', with a cookie' : ''}`);
    assert.ok(reply.status === 200 || reply.status === 409, `${reply.status}: ${reply.text}`);
    if (reply.status === 409) {
      assert.equal(reply.setCookie, undefined, 'a 409 leaves the cookie alone');
      for (const key of request.pending) this.#refused.add(key);
    } else {
      this.#acknowledge(request);
      if (request.generation !== undefined && reply.setCookie)
        this.#issue(visitor.cookie as string, request.generation);
    }
    this.#running--;
    this.#arrival();
  }

  /** What the visitors see in the end, against the model. */
  async #verify(): Promise<void> {
    const contents = new Map<string, Record<string, unknown>>();
    for (const cookie of this.#cookies.keys()) {
      contents.set(cookie, JSON.parse((await this.#world.visitor(cookie).get('/get')).text));
    }
    const alive = [...contents].filter(([, content]) => 'user' in content);
    // Of a logout and a regenerate at the same id, one ends it. If it was the latter, the session goes on elsewhere.
    const ended =
      this.#expired || [...this.#destroyed].some((generation) => !this.#regenerated.has(generation));
    this.history.push(
      `in the end${ended ? ', which has come' : ''}: ${JSON.stringify([...contents.values()])}`,
    );
    if (ended) return assert.equal(alive.length, 0, 'what has ended stays ended');

    const newest = Math.max(...this.#cookies.values());
    assert.ok(alive.length > 0, 'the session is there');
    for (const [cookie] of alive)
      assert.equal(this.#cookies.get(cookie), newest, 'an old id is worth nothing');
    if (!this.#merges) return;
    const content = alive[0]?.[1] ?? {};
    for (const key of this.#stored) assert.ok(key in content, `${key} was acknowledged`);
    for (const key of this.#refused) assert.ok(!(key in content), `${key} was refused`);
    assert.equal(content.n, this.#count, 'each update counts once');
  }

  #expire(): void {
    this.#clock.advance(4_000_000);
    this.#expired = true;
    this.history.push('the session expires');
  }

  #issue(cookie: string, generation: number): void {
    const newest = Math.max(0, ...this.#cookies.values());
    this.#cookies.set(cookie, generation);
    if (generation >= newest) this.#cookie = cookie;
  }

  #turn(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.#arrival();
    });
  }

  #somethingHappens(): Promise<void> {
    return new Promise((resolve) => {
      this.#arrival = resolve;
    });
  }

  #note(request: Request, what: string): void {
    this.history.push(`request ${request.number} ${what}`);
  }
}

/** mulberry32: small, seeded, and random enough for the order of steps. */
function makeRandom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}
