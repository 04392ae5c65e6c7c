import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FsStore } from '@koa-wsession/store-fs';
import { expect } from 'chai';
import { moveSessions } from 'guides/change-store';
import Koa from 'koa';
import { type Sessions, session } from 'koa-wsession';
import { MemoryStore } from 'koa-wsession/memory';
import { Client, type Served, serve } from 'testkit';

const MONTH = 30 * 86_400_000;

describe('the guide to another store', () => {
  let directory: string;
  const open: Served[] = [];
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'guide-'));
  });
  afterEach(async () => {
    await Promise.all(open.splice(0).map((served) => served.close()));
    await rm(directory, { recursive: true, force: true });
  });

  /** An app that counts and logs in: before and after the move. */
  async function start(sessions: Sessions, ...more: Koa.Middleware[]): Promise<Served> {
    const app = new Koa();
    app.silent = true;
    for (const middleware of [sessions, ...more]) app.use(middleware);
    app.use(async (ctx) => {
      const own = sessions.of(ctx);
      if (ctx.path === '/login') await own.logIn('ada', { label: 'Firefox', maxAge: MONTH });
      if (ctx.path === '/count') ctx.session.visits = (ctx.session.visits ?? 0) + 1;
      const { visits, maxAge } = ctx.session;
      ctx.body = { owner: own.owner, label: own.label, visits, maxAge };
    });
    const served = await serve(app);
    open.push(served);
    return served;
  }

  const createFormer = (): Sessions => session(new FsStore({ directory, sweepInterval: false }));

  async function startAfterwards(): Promise<{ served: Served; sessions: Sessions }> {
    const sessions = session(new MemoryStore(), { name: 'sid' });
    const served = await start(sessions, moveSessions(createFormer(), 'wsession', sessions));
    return { served, sessions };
  }

  /** A visitor of the former app who comes to the new one. */
  async function visitor(paths: readonly string[], served: Served): Promise<Client> {
    const before = new Client(await start(createFormer()));
    for (const path of paths) await before.get(path);
    const client = new Client(served);
    for (const [name, value] of before.jar) client.jar.set(name, value);
    return client;
  }

  const MOVED = { owner: 'ada', label: 'Firefox', visits: 1, maxAge: MONTH };

  it('keeps the data, the owner, the label and the lifetime, and leaves nothing behind', async () => {
    const { served, sessions } = await startAfterwards();
    const ada = await visitor(['/count', '/login'], served);
    expect((await ada.get('/')).json()).to.deep.equal(MOVED);
    expect([...ada.jar.keys()]).to.deep.equal(['sid']);
    expect(await createFormer().list('ada')).to.deep.equal([]);
    expect((await ada.get('/count')).json()).to.deep.equal({ ...MOVED, visits: 2 });
    expect(await sessions.list('ada')).to.have.length(1);
  });

  it('keeps an anonymous visitor anonymous', async () => {
    const { served } = await startAfterwards();
    const client = await visitor(['/count'], served);
    expect((await client.get('/')).json()).to.deep.equal({ visits: 1 });
    expect((await client.get('/count')).json()).to.deep.equal({ visits: 2 });
  });

  it('takes parallel requests: none fails', async () => {
    const { served } = await startAfterwards();
    const ada = await visitor(['/count', '/login'], served);
    const { cookie } = ada;
    const replies = await Promise.all(
      [1, 2, 3, 4, 5, 6].map(() => new Client(served).get('/', { headers: { cookie } })),
    );
    expect(replies.map(({ status }) => status)).to.deep.equal(replies.map(() => 200));
    // A request that arrives after another one has moved the session is an anonymous visitor's.
    for (const reply of replies) expect(reply.json().visits).to.be.oneOf([1, undefined]);
    expect(replies.map((reply) => reply.json().visits)).to.include(1);
  });

  it('leaves new visitors and forged cookies alone', async () => {
    const { served } = await startAfterwards();
    const client = new Client(served);
    expect((await client.get('/')).setCookie).to.deep.equal([]);
    const { status, json } = await client.get('/', { headers: { cookie: 'wsession=forged' } });
    expect([status, json()]).to.deep.equal([200, {}]);
  });
});
