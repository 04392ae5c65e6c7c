import { expect } from 'chai';
import { type CachedStore, nearCache } from 'koa-wsession/near-cache';
import type { Entries } from 'koa-wsession/store';
import { type SinonFakeTimers, useFakeTimers } from 'sinon';
import { Client, type ClientResponse } from 'testkit/http';
import { closeServers, createSite, type Handler, type Site, tidy } from './helpers.js';
import { LateFeed, type Random, randomFrom, SlowStore } from './near-cache-late.js';

/* Random requests of one visitor's tabs to two processes, each with a cache, on late feeds: what the visitor may see. */

const ROUNDS = Number(process.env.CONFORMANCE_ROUNDS ?? 40) * 2;
const MAX_AGE = 1000;

const seen: Handler = (ctx, sessions) => ({ ref: sessions.of(ctx).ref, data: { ...ctx.session } });

const handlers: Record<string, Handler> = {
  '/read': seen,
  '/set': async (ctx, sessions) => {
    ctx.session[ctx.querystring] = 1;
    await ctx.session.save();
    return seen(ctx, sessions);
  },
  '/update': async (ctx, sessions) => {
    await sessions.of(ctx).update('n', (n = 0) => n + 1);
    return seen(ctx, sessions);
  },
  '/regenerate': async (ctx, sessions) => {
    await ctx.session.regenerate();
    return seen(ctx, sessions);
  },
  '/logout': (_ctx, sessions) => sessions.of(_ctx).logOut(),
};

const PATHS = ['/read', '/read', '/read', '/read', '/set', '/set', '/update', '/update', '/regenerate', '/logout'];

describe('random requests through two near caches', () => {
  let clock: SinonFakeTimers;
  beforeEach(() => {
    clock = useFakeTimers({ toFake: ['Date', 'performance', 'setInterval', 'clearInterval'] });
  });
  afterEach(tidy);

  it(`${ROUNDS} rounds: no page is below its token or over maxAge behind, no change is lost, and none is restored`, async function () {
    this.timeout(120_000 + ROUNDS * 500);
    const seed = Number(process.env.CONFORMANCE_SEED ?? Math.floor(Math.random() * 2 ** 31));
    const random = randomFrom(seed);
    let stale = 0;
    for (let number = 0; number < ROUNDS; number++) {
      const round = await Round.begin(random);
      try {
        await round.run(clock);
      } catch (error) {
        throw new Error(`${error}\nCONFORMANCE_SEED=${seed}, round ${number}:\n${round.story.join('\n')}`);
      }
      stale += round.stale;
      await round.end();
    }
    expect(stale, 'pages that are behind, as they may be').to.be.above(ROUNDS / 4);
  });
});

/** A token's id, and the place of its revision in the history. */
const TOKEN = /^wsession=([\w-]{32})\.([0-9a-z]+)$/;

class Round {
  readonly story: string[] = [];
  stale = 0;
  readonly #random: Random;
  readonly #store: SlowStore;
  readonly #sites: readonly Site[];
  readonly #caches: readonly CachedStore[];
  /** The cookies of the visitor's tabs. The last one misses most of the new ones, as if responses came in another order. */
  readonly #tabs: string[] = ['', '', ''];
  /** The key of the session that each id leads to. */
  readonly #keys: Map<string, string> = new Map();
  /** What updates returned, by session; one with a new id is the same session. */
  readonly #counts: Map<string, Set<number>> = new Map();
  #changes = 0;

  private constructor(random: Random, store: SlowStore, sites: readonly Site[], caches: readonly CachedStore[]) {
    this.#random = random;
    this.#store = store;
    this.#sites = sites;
    this.#caches = caches;
  }

  static async begin(random: Random): Promise<Round> {
    const store = new SlowStore(random, 40);
    const caches = [0, 1].map(() => nearCache(store.open(new LateFeed()), { maxAge: MAX_AGE }));
    const sites = await Promise.all(caches.map((cache) => createSite(handlers, { store: cache })));
    return new Round(random, store, sites, caches);
  }

  async end(): Promise<void> {
    await closeServers();
    await Promise.all(this.#caches.map((cache) => cache.close()));
  }

  async run(clock: SinonFakeTimers): Promise<void> {
    let running: Promise<void>[] = [];
    await this.#request(0, '/set');
    this.#tabs.fill(this.#tabs[0] as string);
    for (let step = 0; step < 60; step++) {
      const [choice, feed] = [this.#random(16), this.#store.feeds[this.#random(2)] as LateFeed];
      if (choice < 8) {
        const path = PATHS[this.#random(PATHS.length)] as string;
        const request = this.#request(this.#random(this.#tabs.length), path).finally(() => {
          running = running.filter((one) => one !== request);
        });
        running.push(request);
      } else if (choice < 10) for (const one of this.#store.feeds) one.hear(this.#random);
      else if (choice < 14) await clock.tickAsync(this.#random(500));
      else if (choice === 14 && this.#random(4) === 0) feed.lose(this.#random(2) === 0);
      else feed.reconnect();
      if (running.length > this.#random(4)) await Promise.race(running);
    }
    await Promise.all(running);
  }

  async #request(tab: number, path: string): Promise<void> {
    const [cookie, process, began] = [this.#tabs[tab] as string, this.#random(2), performance.now()];
    const [name, number] = [`k${this.#changes++}`, this.story.length];
    this.story.push(`${number}: tab ${tab} asks ${process} for ${path} with ${cookie} at ${began}`);
    const url = this.#sites[process]?.served.url as string;
    const response = await new Client(url).get(path === '/set' ? `/set?${name}` : path, { headers: { cookie } });
    const { status, setCookie, body } = response;
    this.story.push(`${number}: ${status} ${body} ${setCookie}`);
    expect(status).to.be.oneOf([200, 409, 503]);
    const answer = status === 200 && path !== '/logout' ? response.json() : {};
    this.#keep(tab, response, answer.ref);

    const [, id = '', revision = '1'] = TOKEN.exec(cookie) ?? [];
    const key = this.#keys.get(id);
    if (path === '/set') this.#expectChange(name, status);
    if (status !== 200 || key === undefined) return;
    if (path === '/read') this.#expectRead(key, Number.parseInt(revision, 36) - 1, began, answer.data);
    if (path === '/logout') expect(this.#store.history.get(key)?.at(-1)?.record).to.equal(undefined);
    if (path === '/regenerate' && this.#counts.has(key))
      this.#counts.set(answer.ref, this.#counts.get(key) as Set<number>);
    if (path === '/update' && answer.ref === key) this.#expectCount(key, answer.data.n);
  }

  #keep(tab: number, { setCookie: [line = ''] }: ClientResponse, ref: string): void {
    const cookie = line.split(';', 1)[0] as string;
    const [, id] = TOKEN.exec(cookie) ?? [];
    if (id !== undefined) this.#keys.set(id, ref);
    if (line === '' || (tab === 2 && this.#random(6) > 0)) return;
    this.#tabs[tab] = id === undefined ? '' : cookie;
  }

  /** An acknowledged change is stored, and one that was refused never was. */
  #expectChange(name: string, status: number): void {
    const versions = [...this.#store.history.values()].flat();
    const isStored = versions.some(({ record }) => record?.entries.has(name));
    if (status !== 503) expect(isStored, name).to.equal(status === 200);
  }

  /** What is seen is what the session was, from its token's revision or `maxAge` before the request on, whichever is later. */
  #expectRead(key: string, token: number, began: number, data: object): void {
    const history = this.#store.history.get(key) ?? [];
    const oldest = Math.max(token, this.#store.oldest(key, began, MAX_AGE));
    const contents = history.map(({ record }) => (record ? contentOf(record.entries) : {}));
    expect(data, `${key} from ${oldest}`).to.be.deep.oneOf(contents.slice(oldest));
    const current = history.findLastIndex(({ at }) => at <= began);
    if (!contents.slice(current).some((content) => JSON.stringify(content) === JSON.stringify(data))) this.stale++;
  }

  /** Each update counts once. */
  #expectCount(key: string, n: number): void {
    const counts = this.#counts.get(key) ?? new Set();
    expect(counts.has(n), `${n} twice`).to.equal(false);
    this.#counts.set(key, counts.add(n));
  }
}

/** What the app sees of a record. */
function contentOf(entries: Entries): object {
  const own = [...entries].filter(([key]) => !key.startsWith('\0'));
  return Object.fromEntries(own.map(([key, value]) => [key, JSON.parse(value)]));
}
