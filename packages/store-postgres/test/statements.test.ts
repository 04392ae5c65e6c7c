import { PostgresStore } from '@koa-wsession/store-postgres';
import { expect } from 'chai';
import pg from 'pg';
import postgres from 'postgres';
import { Client, serve } from 'testkit/http';
import { needsPostgres, type PostgresServer, startPostgres } from 'testkit/postgres';
import { describeWith } from 'testkit/programs';
import { address, call, changesOf, contentOf, HOUR, recordOf } from 'testkit/records';
import { counterApp } from './app.js';
import { clients, NAMES, query, until } from './support.js';

describeWith(needsPostgres, 'The statements of PostgresStore', () => {
  let server: PostgresServer;
  const database = () => ({ host: '127.0.0.1', port: server.port, user: 'app', database: 'postgres' });
  before(async () => {
    server = await startPostgres();
    const client = clients.pg({ port: server.port });
    await client.store().migrate();
    await client.end();
  });
  after(() => server.stop());

  /** Clients that note the statements they send. */
  const noting = {
    pg(sent: string[]) {
      class NotingClient extends pg.Client {
        // biome-ignore lint/suspicious/noExplicitAny: it has many signatures
        override query(...args: any[]): any {
          sent.push(args[0].text ?? args[0]);
          return (super.query as (...args: unknown[]) => unknown).apply(this, args);
        }
      }
      const pool = new pg.Pool({ ...database(), Client: NotingClient as never });
      return { client: pool, end: () => pool.end() };
    },
    postgres(sent: string[]) {
      const sql = postgres({ ...database(), fetch_types: false, debug: (_, text) => sent.push(text) });
      return { client: sql, end: () => sql.end() };
    },
  };

  for (const name of NAMES) {
    it(`are none for an untouched page, one for a read, two for a change: ${name}`, async () => {
      const sent: string[] = [];
      const { client, end } = noting[name](sent);
      const served = await serve(counterApp(new PostgresStore(client, { sweepInterval: false })));
      const visitor = new Client(served);
      const countOf = async (path: string): Promise<number> => {
        sent.length = 0;
        expect((await visitor.get(path)).status).to.equal(200);
        return sent.length;
      };
      expect(await countOf('/count'), 'a new session').to.equal(1);
      expect(await countOf('/count'), 'a load and an update').to.equal(2);
      expect(await countOf('/read'), 'a load').to.equal(1);
      visitor.jar.clear();
      expect(await countOf('/untouched')).to.equal(0);
      expect(await countOf('/read'), 'without a cookie').to.equal(0);
      await served.close();
      await end();
    });
  }

  const overriding = {
    pg() {
      const types = { getTypeParser: () => () => 'overridden' };
      const pool = new pg.Pool({ ...database(), types });
      return { client: pool, end: () => pool.end() };
    },
    postgres() {
      const parse = () => 'overridden';
      const type = { to: 25, from: [16, 20, 23, 25, 701, 1700, 3802], serialize: String, parse };
      const transform = { ...postgres.camel, value: { from: parse } };
      const sql = postgres({ ...database(), types: { type }, transform });
      return { client: sql, end: () => sql.end() };
    },
  };

  for (const name of NAMES) {
    for (const prepare of [false, true]) {
      it(`don't depend on the app's parsers and transformations: ${name}${prepare ? ', prepared' : ''}`, async () => {
        const { client, end } = overriding[name]();
        const store = new PostgresStore(client, { prepare, sweepInterval: false });
        const [key, record] = [address(), recordOf({ a: '1' })];
        await store.create(key, record, call());
        expect(await store.load(key, call())).to.deep.equal(record);
        const expected = changesOf({ a: '3' }, { expect: new Map([['a', '2']]) });
        expect(await store.update(key, expected, call())).to.deep.equal({
          outcome: 'conflict',
          actual: new Map([['a', '1']]),
        });
        expect(await store.update(key, changesOf({ a: '2' }), call())).to.deep.equal({
          outcome: 'updated',
          revision: 2,
        });
        expect(await store.index.add(key, key, Date.now() + HOUR, call())).to.equal(true);
        expect(await store.index.keys(key, call())).to.deep.equal([key]);
        expect(await store.destroy(key, call())).to.have.property('outcome', 'destroyed');
        await end();
      });

      it(`are ${prepare ? '' : 'not '}prepared by name: ${name}${prepare ? ' with prepare' : ''}`, async () => {
        const pool = new pg.Pool({ ...database(), max: 1 });
        const sql = postgres({ ...database(), max: 1, fetch_types: false });
        const store = new PostgresStore(name === 'pg' ? pool : sql, { prepare, sweepInterval: false });
        for (let i = 0; i < 3; i++) await store.load(address(), call());
        const names = 'SELECT name, statement FROM pg_prepared_statements';
        const prepared = name === 'pg' ? (await pool.query(names)).rows : await sql.unsafe(names);
        expect(prepared).to.have.length(prepare ? 1 : 0);
        await Promise.all([pool.end(), sql.end()]);
      });
    }
  }

  it('update rows in place: no index is written while the expiry stays within the hour', async () => {
    await query(server.port, 'TRUNCATE wsession');
    const client = clients.pg({ port: server.port });
    const store = client.store({ sweepInterval: false });
    const keys = Array.from({ length: 20 }, address);
    const expiry = Math.ceil(Date.now() / HOUR) * HOUR + 1;
    for (const key of keys) await store.create(key, recordOf({ counter: '0' }, expiry), call());
    const statistics = async () =>
      (await query(server.port, `SELECT * FROM pg_stat_user_tables WHERE relname = 'wsession'`))[0];
    const before = Number((await statistics()).n_tup_upd);
    const hotBefore = Number((await statistics()).n_tup_hot_upd);
    for (let i = 1; i <= 50; i++)
      for (const key of keys)
        await store.update(key, changesOf({ counter: String(i) }, { expiresAt: expiry + i * 1000 }), call());
    await client.end();
    await until('all updates are counted', async () => Number((await statistics()).n_tup_upd) - before === 1000);
    expect(Number((await statistics()).n_tup_hot_upd) - hotBefore).to.be.above(990);
  });

  it('leave a large value where it is when only the expiry changes', async () => {
    const client = clients.pg({ port: server.port });
    const store = client.store({ sweepInterval: false });
    const key = address();
    const large = Array.from({ length: 5000 }, address).join();
    await store.create(key, recordOf({ large }), call());
    const toasted = async () =>
      (await query(server.port, `SELECT pg_relation_size(reltoastrelid) FROM pg_class WHERE relname = 'wsession'`))[0];
    const before = await toasted();
    for (let i = 0; i < 10; i++) await store.update(key, changesOf({}), call());
    expect(await toasted()).to.deep.equal(before);
    expect(contentOf(await store.load(key, call()))).to.deep.equal({ large });
    await client.end();
  });
});
