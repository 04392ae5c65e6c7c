import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { expect } from 'chai';
import Koa from 'koa';
import { type SessionOptions, session } from 'koa-wsession';
import type { Store } from 'koa-wsession/store';
import { Client, type ClientResponse, serve } from './http.js';

/* Two servers of one app, in processes of their own, on the same sessions: what may not go wrong between them. */

declare module 'koa-wsession' {
  interface SessionData {
    counter?: number;
    [key: `key-${number}`]: number;
  }
}

/** An app with a path for each thing that one does to a session. */
function createApp(store: Store): Koa {
  const app = new Koa();
  app.silent = true;
  const sessions = session(store, JSON.parse(process.env.SESSION_OPTIONS ?? '{}'));
  app.use(sessions);
  app.use(async (ctx) => {
    const [, action = '', name = ''] = ctx.path.split('/');
    switch (action) {
      case 'set':
        ctx.session[name as `key-${number}`] = 1;
        break;
      case 'hold': // at work until it is told to go on
        ctx.session['key-1'] = 1;
        process.send?.('held');
        await once(process, 'message');
        break;
      case 'update':
        await sessions.of(ctx).update('counter', (counter = 0) => counter + 1);
        break;
      case 'login':
        await sessions.of(ctx).logIn(name);
        ctx.body = sessions.of(ctx).ref;
        return;
      case 'regenerate':
        await ctx.session.regenerate();
        break;
      case 'revoke-all':
        ctx.body = { ended: await sessions.revokeAll() };
        return;
      case 'logout':
        await sessions.of(ctx).logOut();
        break;
      case 'list':
        ctx.body = await sessions.list(name);
        return;
      case 'revoke':
        ctx.body = { ended: await sessions.revoke(name) };
        return;
    }
    ctx.body = { ...ctx.session, owner: sessions.of(ctx).owner };
  });
  return app;
}

/** What a worker does: serves the app on this store, tells its port, and ends with its parent. */
export async function serveAsWorker(store: Store): Promise<void> {
  const { port } = await serve(createApp(store));
  process.send?.(port);
  process.once('disconnect', () => process.exit());
}

/** Two processes of a worker, with these options for `session()`, and where they serve. */
export async function startProcesses(
  worker: URL,
  args: readonly string[],
  options: SessionOptions = {},
): Promise<{ processes: ChildProcess[]; urls: string[]; stop(): Promise<void> }> {
  const env = { ...process.env, SESSION_OPTIONS: JSON.stringify(options) };
  const processes = [1, 2].map(() => fork(worker, args, { env }));
  const ports = await Promise.all(processes.map(async (one) => (await once(one, 'message'))[0]));
  return {
    processes,
    urls: ports.map((port) => `http://127.0.0.1:${port}`),
    async stop() {
      const ends = processes.map((one) => once(one, 'exit'));
      for (const one of processes) one.disconnect();
      await Promise.all(ends);
    },
  };
}

/** `worker` is a module that calls `serveAsWorker`; `args` are for it. */
export function describeTwoProcesses(worker: URL, args: () => readonly string[]): void {
  describe('Two processes with the same sessions', () => {
    let processes: ChildProcess[];
    let urls: string[];
    let stop: () => Promise<void>;
    before(async () => {
      ({ processes, urls, stop } = await startProcesses(worker, args()));
    });
    after(() => stop());

    /** A request to one of the processes with this visitor's cookies. */
    const ask = (visitor: Client, process: number, path: string): Promise<ClientResponse> =>
      new Client(urls[process] as string).get(path, { headers: { cookie: visitor.cookie } });

    const enter = async (process: number, path: string): Promise<Client> => {
      const visitor = new Client(urls[process] as string);
      expect((await visitor.get(path)).status).to.equal(200);
      return visitor;
    };

    it('lose none of 100 parallel writes of different keys', async () => {
      const ada = await enter(0, '/set/key-0');
      const keys = Array.from({ length: 100 }, (_, i) => `key-${i}`);
      const answers = await Promise.all(keys.map((key, i) => ask(ada, i % 2, `/set/${key}`)));
      expect(answers.map(({ status }) => status)).to.deep.equal(keys.map(() => 200));
      expect((await ask(ada, 1, '/')).json()).to.have.all.keys(keys);
    });

    it('lose none of 100 parallel updates of one key', async () => {
      const ada = await enter(0, '/set/key-0');
      const answers = await Promise.all(Array.from({ length: 100 }, (_, i) => ask(ada, i % 2, '/update')));
      expect(answers.map(({ status }) => status)).to.deep.equal(answers.map(() => 200));
      expect((await ask(ada, 1, '/')).json().counter).to.equal(100);
    });

    it('let a logout in the one end what is at work in the other: 409, and nothing comes back', async () => {
      const ada = await enter(0, '/set/key-0');
      const held = once(processes[0] as ChildProcess, 'message');
      const late = ask(ada, 0, '/hold');
      await held;
      expect((await ask(ada, 1, '/logout')).status).to.equal(200);
      processes[0]?.send('go on');
      const { status, setCookie } = await late;
      expect([status, setCookie]).to.deep.equal([409, []]);
      for (const process of [0, 1]) expect((await ask(ada, process, '/')).json()).to.deep.equal({});
    });

    const refsOf = async (process: number, owner: string): Promise<string[]> => {
      const list = (await new Client(urls[process] as string).get(`/list/${owner}`)).json();
      return list.map(({ ref }: { ref: string }) => ref).sort();
    };

    const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));

    for (let round = 0; round < 5; round++) {
      it(`end all of an owner's sessions while they log in and out and write (SEED=${seed}, ${round})`, async () => {
        const random = randomFrom(seed + round);
        const either = () => Math.floor(random() * 2);
        const owner = `ada-${seed}-${round}`;
        const login = async () => {
          const visitor = new Client(urls[either()] as string);
          const { body: ref } = await visitor.get(`/login/${owner}`);
          return { visitor, ref };
        };

        const before = await Promise.all(Array.from({ length: 8 }, login));
        const refs = before.map(({ ref }) => ref).sort();
        for (const process of [0, 1]) expect(await refsOf(process, owner)).to.deep.equal(refs);

        const history: string[] = [];
        const act = async (name: string, work: () => Promise<ClientResponse>): Promise<void> => {
          const { status, body } = await work();
          history.push(`${name}: ${status} ${body}`);
        };
        const meanwhile: Array<Awaited<ReturnType<typeof login>>> = [];
        const paths = ['/update', '/set/key-1', '/logout'];
        await Promise.all([
          ...before.map(({ visitor }, i) => {
            const path = paths[Math.floor(random() * paths.length)] as string;
            return act(`visitor ${i} ${path}`, () => ask(visitor, either(), path));
          }),
          act('revoke', () => new Client(urls[either()] as string).get(`/revoke/${owner}`)),
          ...[1, 2].map(async () => {
            meanwhile.push(await login());
          }),
        ]);

        const story = history.join('\n');
        for (const { visitor } of before)
          for (const process of [0, 1]) expect((await ask(visitor, process, '/')).json(), story).to.deep.equal({});
        // A login during a revocation may survive it or not, but is listed if and only if it does.
        const alive: string[] = [];
        for (const { visitor, ref } of meanwhile)
          if ((await ask(visitor, either(), '/')).json().owner === owner) alive.push(ref);
        for (const process of [0, 1]) expect(await refsOf(process, owner), story).to.deep.equal(alive.sort());
        await new Client(urls[either()] as string).get(`/revoke/${owner}`);
        expect(await refsOf(either(), owner), story).to.deep.equal([]);
        for (const { visitor } of meanwhile)
          expect((await ask(visitor, either(), '/')).json(), story).to.deep.equal({});
      });
    }
  });
}

/** Numbers from 0 to 1 that are the same for the same seed (mulberry32). */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
