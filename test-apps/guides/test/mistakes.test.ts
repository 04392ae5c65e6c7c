import { readFileSync } from 'node:fs';
import { CookieStore } from '@koa-wsession/store-cookie';
import { FsStore, type FsStoreOptions } from '@koa-wsession/store-fs';
import { RedisStore } from '@koa-wsession/store-redis';
import { expect } from 'chai';
import { Redis } from 'ioredis';
import Koa from 'koa';
import { type SessionOptions, type Sessions, session } from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import type { Store } from 'koa-wsession/store';
import { createClient } from 'redis';
import { Client, serve } from 'testkit';

// What the types refuse, as JavaScript lets it through.
const options = (value: object): SessionOptions & FsStoreOptions => value as never;
const store = new MemoryStore();
const secret = 'a secret of at least thirty-two bytes';

/** Where the mistake is in the call itself. */
const AT_START: Record<string, () => unknown> = {
  'session(store, { expire: 60 })': () => session(store, options({ expire: 60 })),
  'session(store, { maxAge: 86_400_000 })': () => session(store, options({ maxAge: 86_400_000 })),
  "session(store, { key: 'sid' })": () => session(store, options({ key: 'sid' })),
  'session(store, { rollin: true })': () => session(store, options({ rollin: true })),
  "session(store, { sameSite: 'none' })": () => session(store, { sameSite: 'none' }),
  'new FsStore({ expire: 86_400_000 })': () => new FsStore({ expire: 86_400_000 }),
  "new FsStore({ expire: '1h' })": () => new FsStore(options({ expire: '1h' })),
  "new FsStore({ secure: 'auto' })": () => new FsStore(options({ secure: 'auto' })),
  'new CookieStore(process.env.SESSION_SECRET), unset': () => new CookieStore(undefined as never),
  "app.use(session({ key: 'sid' }, app)), as with koa-session": () =>
    session({ key: 'sid' } as never, new Koa() as never),
  "new RedisStore('redis://localhost')": () => new RedisStore('redis://localhost' as never),
};

/** Where a request shows it. */
const AT_REQUEST: Record<string, (app: Koa) => unknown> = {
  'app.use(session)': (app) => app.use(session as never),
  'sessions.of(ctx) above app.use(sessions)': (app) => {
    const sessions = session(store);
    app.use((ctx) => void sessions.of(ctx)).use(sessions);
  },
  'sessions.of(ctx.session) above app.use(sessions)': (app) => {
    const sessions = session(store);
    app.use((ctx) => void sessions.of(ctx.session)).use(sessions);
  },
  'app.use(session(store)) twice': (app) => app.use(session(store)).use(session(store)),
  'ctx.session.user = user, an instance of User': on(store, (ctx) => {
    ctx.session.user = new (class User {})() as never;
  }),
  'ctx.session.user = findUser(), without await': on(store, (ctx) => {
    ctx.session.user = Promise.resolve('ada') as never;
  }),
  'ctx.session.maxAge = 3600': on(store, (ctx) => {
    ctx.session.maxAge = 3600;
  }),
  'ctx.session.save = true': on(store, (ctx) => {
    ctx.session.save = true as never;
  }),
  'secure: true, and a change over http': on(new MemoryStore({ secure: true }), change),
  'a session of 5 kB in CookieStore': on(new CookieStore(secret), (ctx) => {
    ctx.session.user = 'x'.repeat(5000);
  }),
  'sessions.list(user) with CookieStore': on(new CookieStore(secret), (_, sessions) => sessions.list('ada')),
  'a change after the response, where await is missing': on(store, (ctx) => {
    ctx.res.once('finish', () => change(ctx));
    ctx.body = '';
  }),
  'RedisStore, and Redis is not running': (app) => {
    const redis = new Redis(1, '127.0.0.1');
    redis.on('error', () => undefined);
    closing.push(() => redis.disconnect());
    app.use(session(new RedisStore(redis), { timeout: 500 })).use(change);
  },
  'RedisStore with node-redis, without client.connect()': (app) =>
    app.use(session(new RedisStore(createClient()), { timeout: 500 })).use(change),
};

const closing: Array<() => unknown> = [];

function on(store: Store, handle: (ctx: Koa.Context, sessions: Sessions) => unknown): (app: Koa) => void {
  const sessions = session(store);
  return (app) => app.use(sessions).use(async (ctx) => void (await handle(ctx, sessions)));
}

function change(ctx: Koa.Context): void {
  ctx.session.user = 'ada';
}

/** The error that a request with the mistake ends in, as the app's `error` event has it. */
async function errorAtRequest(build: (app: Koa) => unknown): Promise<unknown> {
  const app = new Koa();
  const reported = new Promise((resolve) => app.on('error', resolve));
  build(app);
  const served = await serve(app);
  try {
    await new Client(served).get('/');
    return await reported;
  } finally {
    await served.close();
    for (const close of closing.splice(0)) close();
  }
}

function errorAtStart(make: () => unknown): unknown {
  try {
    return make();
  } catch (error) {
    return error;
  }
}

describe('the table of typical mistakes, in the page on troubleshooting', () => {
  const page = readFileSync(new URL('../../../docs/troubleshooting.md', import.meta.url), 'utf8');
  const section = page.split('## Typical mistakes\n')[1]?.split('\n## ')[0] ?? '';
  const rows = Array.from(
    section.matchAll(/^\| (`.*|\w.*) \| `(WSESSION_\w+)` \| (.*) \|$/gm),
    ([, ...cells]) => cells,
  );
  const plain = (cell = ''): string => cell.replaceAll('`', '');

  it('has all that are tried here, and no others', () => {
    const tried = [...Object.keys(AT_START), ...Object.keys(AT_REQUEST)];
    expect(rows.map(([mistake]) => plain(mistake))).to.have.members(tried);
  });

  for (const [mistake, code, message] of rows)
    it(`says the code and the message of: ${plain(mistake)}`, async () => {
      const { [plain(mistake)]: make } = AT_START;
      const { [plain(mistake)]: build } = AT_REQUEST;
      const error = build ? await errorAtRequest(build) : errorAtStart(make as () => unknown);
      expect(error).to.include({ code });
      for (const part of plain(message).split('…')) expect((error as Error).message).to.include(part.trim());
    });
});
