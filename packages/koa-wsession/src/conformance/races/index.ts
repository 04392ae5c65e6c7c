import type { Clock } from '../clock.js';
import { type AnyContext, type Current, openSite, type Site } from '../http/site.js';
import type { Suite } from '../suite.js';
import { RaceModel, type RacingRequest, type Seen } from './model.js';

/** How many rounds are tried; the variables `CONFORMANCE_ROUNDS` and `CONFORMANCE_SEED` set other numbers. */
const ROUNDS: number = Number(process.env.CONFORMANCE_ROUNDS ?? 40);

type Step = 'read' | 'set' | 'update' | 'flash' | 'takeFlash' | 'save' | 'regenerate' | 'logIn' | 'destroy';

/** Likelier steps stand here more often. */
const STEPS: readonly Step[] = [
  'read',
  'set',
  'set',
  'set',
  'update',
  'update',
  'update',
  'flash',
  'flash',
  'takeFlash',
  'takeFlash',
  'save',
  'save',
  'regenerate',
  'logIn',
  'destroy',
];

/**
 * Several requests of one browser, each of a few random steps, in a random order, against a model of what may be there
 * in the end. Every step waits for its turn, and the turns come from a seed.
 */
export function describeRaces(suite: Suite): void {
  suite.it(`${ROUNDS} rounds of random races lose nothing, restore nothing, and get 200 or 409`, async () => {
    const seed = Number(process.env.CONFORMANCE_SEED ?? Date.now() % 2 ** 31);
    const random = makeRandom(seed);
    const table: { round?: Round } = {};
    const site = await openSite(suite, {
      '/login': (ctx, current) => {
        ctx.session.n = 0;
        return current.logIn('ada');
      },
      '/race': (ctx, current) => (table.round as Round).handle(ctx, current),
      '/get': async (ctx, current) => ({
        owner: current.owner,
        data: { ...ctx.session, messages: current.owner && (await current.takeFlash('notice')) },
      }),
    });
    for (let number = 0; number < ROUNDS; number++) {
      const round = new Round(site, random, suite.clock, suite.fixture.capabilities.merges);
      table.round = round;
      try {
        await round.run();
      } catch (error) {
        const story = `round ${number} of CONFORMANCE_SEED=${seed}:\n${round.history.join('\n')}`;
        throw new Error(`${(error as Error).message}\n${story}`);
      } finally {
        suite.clock.restore();
      }
    }
  });
}

class Round {
  readonly history: string[] = [];
  readonly #site: Site;
  readonly #random: (below: number) => number;
  readonly #clock: Clock;
  readonly #model: RaceModel;
  readonly #plans: ReadonlyArray<readonly Step[]>;
  readonly #requests: Map<number, RacingRequest> = new Map();
  /** What lets each waiting request take its turn. */
  readonly #waiting: Array<() => void> = [];
  #running = 0;
  #failure: unknown;
  #wake: () => void = () => undefined;

  constructor(site: Site, random: (below: number) => number, clock: Clock, merges: boolean) {
    this.#site = site;
    this.#random = random;
    this.#clock = clock;
    this.#model = new RaceModel(merges);
    this.#plans = Array.from({ length: 3 + random(5) }, () =>
      Array.from({ length: 1 + random(4) }, () => STEPS[random(STEPS.length)] as Step),
    );
  }

  async run(): Promise<void> {
    const browser = this.#site.visitor();
    await browser.get('/login');
    this.#model.cookies.set(browser.cookie as string, 0);

    const replies: Promise<void>[] = [];
    let unsent = this.#plans.length;
    while (unsent > 0 || this.#running > 0) {
      const choice = this.#random(unsent + this.#waiting.length + 1);
      if (choice < unsent) replies.push(this.#send(this.#plans.length - unsent--));
      else if (choice < unsent + this.#waiting.length)
        this.#waiting.splice(this.#random(this.#waiting.length), 1)[0]?.();
      const inProgress = this.#running - this.#waiting.length;
      // Only between steps: no real step takes an hour, and a store may give up one that seems to.
      if (inProgress === 0 && !this.#model.expired && this.#random(30) === 0) this.#expire();
      // Sometimes other steps begin as well, else the one in progress comes to its request's next turn first.
      const isIdle = unsent + this.#waiting.length === 0;
      if (inProgress > 0 && (isIdle || this.#random(2) === 0)) await this.#nextEvent();
    }
    await Promise.all(replies);
    if (this.#failure) throw this.#failure;
    const seen: Seen[] = [];
    for (const cookie of [...this.#model.cookies.keys(), ...this.#model.separate])
      seen.push({ cookie, ...JSON.parse((await this.#site.visitor(cookie).get('/get')).text) });
    this.history.push(`in the end: ${JSON.stringify(seen.map(({ owner, data }) => ({ owner, data })))}`);
    this.#model.verify(seen);
  }

  /** Runs a request's steps; each waits for its turn. */
  async handle(ctx: AnyContext, current: Current): Promise<void> {
    const number = Number(ctx.get('x-request'));
    const request = this.#model.begin(number, ctx.get('cookie'), current.owner === 'ada');
    this.#requests.set(number, request);
    for (const step of this.#plans[number] as readonly Step[]) {
      await this.#turn();
      const outcome = await this.#take(ctx, current, request, step);
      this.#note(number, `${step} ${outcome}`);
      if (outcome === 'WSESSION_GONE') ctx.throw(409, outcome);
      if (outcome.startsWith('failed')) ctx.throw(500, `${step} ${outcome}`);
    }
    await this.#turn();
  }

  async #take(ctx: AnyContext, current: Current, request: RacingRequest, step: Step): Promise<string> {
    try {
      return String((await this.#steps[step](ctx, current, request)) ?? 'done');
    } catch (error) {
      const { code } = error as { code?: string };
      return code === 'WSESSION_GONE' && step !== 'logIn' ? code : `failed: ${code ?? error}`;
    }
  }

  readonly #steps: Record<Step, (ctx: AnyContext, current: Current, request: RacingRequest) => unknown> = {
    read: ({ session }, { owner }) => `${owner} ${session.n}`,
    set: ({ session }, _, request) => {
      const key = `k${request.number}-${this.history.length}`;
      session[key] = true;
      request.keys.push(key);
      return key;
    },
    update: async (_, current, request) => {
      const n = await current.update('n', (value = 0) => value + 1);
      this.#model.updated(request);
      return String(n);
    },
    flash: (_, current, request) => {
      const message = `m${request.number}-${this.history.length}`;
      current.flash('notice', message);
      request.messages.push(message);
      return message;
    },
    takeFlash: async (_, current, request) => {
      const messages = await current.takeFlash('notice');
      this.#model.took(request, messages);
      return messages.join();
    },
    save: async ({ session }, _, request) => {
      await session.save();
      this.#model.acknowledge(request);
    },
    regenerate: async ({ session }, _, request) => {
      await session.regenerate();
      this.#model.regenerated(request);
    },
    logIn: async (_, current, request) => {
      await current.logIn('ada');
      this.#model.loggedIn(request);
    },
    destroy: async ({ session }, _, request) => {
      await session.destroy();
      this.#model.destroyed(request);
    },
  };

  async #send(number: number): Promise<void> {
    this.#running++;
    const browser = this.#site.visitor(this.#model.newest);
    this.#note(number, `starts: ${this.#plans[number]?.join(', ')}`);
    try {
      const reply = await browser.get('/race', { 'x-request': String(number) });
      this.#note(number, `is answered ${reply.status}${reply.setCookie ? ', with a cookie' : ''}`);
      this.#model.replied(this.#requests.get(number) as RacingRequest, reply, browser.cookie);
    } catch (error) {
      this.#failure ??= error; // the other requests have to come to their end first
    }
    this.#running--;
    this.#wake();
  }

  #expire(): void {
    this.#clock.advance(4_000_000);
    this.#model.expire();
    this.history.push('the session expires');
  }

  #turn(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.#wake();
    });
  }

  #nextEvent(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  #note(number: number, event: string): void {
    this.history.push(`request ${number} ${event}`);
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
