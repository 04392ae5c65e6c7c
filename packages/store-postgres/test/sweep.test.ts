import { PostgresStore } from '@koa-wsession/store-postgres';
import { expect } from 'chai';
import pg from 'pg';
import { createSandbox, type SinonFakeTimers } from 'sinon';
import { needsPostgres, type PostgresServer, startPostgres } from 'testkit/postgres';
import { describeWith } from 'testkit/programs';
import { address, call, contentOf, HOUR, recordOf } from 'testkit/records';
import { clients, NAMES, query, type TestClient } from './support.js';

/** Our own: other tests restore the default one. */
const sinon = createSandbox();

for (const name of NAMES) {
  describeWith(needsPostgres, `sweep() with ${name}`, () => {
    let server: PostgresServer;
    let client: TestClient;
    before(async () => {
      server = await startPostgres();
      client = clients[name]({ port: server.port });
      await client.store().migrate();
    });
    beforeEach(() => query(server.port, 'TRUNCATE wsession'));
    after(async () => {
      await client.end();
      await server.stop();
    });

    const expired = (rows: number): Promise<unknown> =>
      query(
        server.port,
        `INSERT INTO wsession (key, entries, revision, created_at, updated_at, expires_at)
         SELECT 'expired-' || i, '{}', 1, 0, 0, $2 FROM generate_series(1, $1) AS i`,
        [rows, Date.now() - HOUR],
      );
    const countOf = async (): Promise<number> =>
      (await query(server.port, 'SELECT count(*)::int AS rows FROM wsession'))[0].rows;

    it('removes expired sessions, marks and groups, in batches, and nothing that is live', async () => {
      const store = client.store({ sweepInterval: false });
      await expired(2500);
      const [live, replaced, group] = [address(), address(), address()];
      await store.create(live, recordOf({ a: '1' }), call());
      await store.create(replaced, recordOf(), call());
      await store.destroy(replaced, { ...call(), replaced: { by: live, until: Date.now() - HOUR } });
      await store.index.add(group, live, Date.now() - HOUR, call());
      await store.index.add(address(), live, Date.now() + HOUR, call());
      expect(await store.sweep()).to.equal(2502);
      expect(await countOf()).to.equal(2);
      expect(contentOf(await store.load(live, call()))).to.deep.equal({ a: '1' });
      expect(await store.sweep()).to.equal(0);
    });

    it('by several processes at once removes each row once', async () => {
      await expired(5000);
      const others = [clients.pg({ port: server.port }), clients.postgres({ port: server.port })];
      const removed = await Promise.all([client, ...others].map((one) => one.store({ sweepInterval: false }).sweep()));
      await client.store({ sweepInterval: false }).sweep();
      expect(await countOf()).to.equal(0);
      expect(removed.reduce((sum, one) => sum + one, 0)).to.be.at.most(5000);
      await Promise.all(others.map((other) => other.end()));
    });

    it('leaves a row that is locked, and waits for none', async () => {
      await expired(3);
      const lock = new pg.Client({ host: '127.0.0.1', port: server.port, user: 'app', database: 'postgres' });
      await lock.connect();
      await lock.query('BEGIN');
      await lock.query(`SELECT FROM wsession WHERE key = 'expired-2' FOR UPDATE`);
      const store = client.store({ sweepInterval: false });
      expect(await store.sweep()).to.equal(2);
      await lock.query('COMMIT');
      expect(await store.sweep()).to.equal(1);
      await lock.end();
    });

    it('spares a group as long as any of its sessions, whatever was added last', async () => {
      const store = client.store({ sweepInterval: false });
      const [group, live] = [address(), address()];
      await store.index.add(group, live, Date.now() + HOUR, call());
      await store.index.add(group, address(), Date.now() - HOUR, call());
      expect(await store.sweep()).to.equal(0);
      expect(await store.index.keys(group, call())).to.deep.equal([live]);
    });

    it('spares a row that became live after it expired', async () => {
      await expired(1);
      const store = client.store({ sweepInterval: false });
      expect(await store.create('expired-1', recordOf({ a: '1' }), call())).to.deep.equal({
        outcome: 'created',
      });
      expect(await store.sweep()).to.equal(0);
      expect(contentOf(await store.load('expired-1', call()))).to.deep.equal({ a: '1' });
    });
  });
}

describe('The interval of sweeping', () => {
  let clock: SinonFakeTimers;
  let sweeps: number;
  let fail: Error | undefined;
  const unsafe = () => {
    sweeps++;
    return { raw: async () => (fail ? Promise.reject(fail) : [['0']]) };
  };
  const client = Object.assign(() => {}, { unsafe, end: async () => {} });
  beforeEach(() => {
    sweeps = 0;
    fail = undefined;
    clock = sinon.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] });
  });
  afterEach(() => sinon.restore());

  it('is 300 seconds by default, or what it was set to, give or take a fifth', async () => {
    for (const [options, seconds] of [
      [{}, 300],
      [{ sweepInterval: 10 }, 10],
    ] as const) {
      const store = new PostgresStore(client, options);
      sweeps = 0;
      await clock.tickAsync(seconds * 799);
      expect(sweeps).to.equal(0);
      await clock.tickAsync(seconds * 402);
      expect(sweeps).to.equal(1);
      store.close();
    }
  });

  it('differs between processes', async () => {
    const set = sinon.spy(globalThis, 'setInterval');
    for (let i = 0; i < 20; i++) new PostgresStore(client).close();
    expect(new Set(set.getCalls().map(({ args }) => args[1])).size).to.be.above(10);
  });

  it('ends with close(), which may be called twice', async () => {
    const store = new PostgresStore(client);
    store.close();
    store.close();
    await clock.tickAsync(3_600_000);
    expect(sweeps).to.equal(0);
    expect(clock.countTimers()).to.equal(0);
  });

  it('is none with false', async () => {
    new PostgresStore(client, { sweepInterval: false });
    expect(clock.countTimers()).to.equal(0);
  });

  it('goes on after a failure, which is a warning', async () => {
    const warn = sinon.stub(process, 'emitWarning');
    const store = new PostgresStore(client, { sweepInterval: 10 });
    fail = new Error('connect ECONNREFUSED');
    await clock.tickAsync(12_000);
    sinon.assert.calledOnceWithExactly(warn, "Expired sessions can't be removed: Postgres: connect ECONNREFUSED", {
      code: 'WSESSION_SWEEP',
    } as never);
    fail = undefined;
    await clock.tickAsync(12_000);
    expect(sweeps).to.equal(2);
    store.close();
  });
});
