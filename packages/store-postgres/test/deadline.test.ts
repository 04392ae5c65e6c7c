import { PostgresStore } from '@koa-wsession/store-postgres';
import { expect } from 'chai';
import type { Destroyed } from 'koa-wsession/store';
import pg from 'pg';
import { createSandbox } from 'sinon';
import { needsPostgres, type PostgresServer, startPostgres } from 'testkit/postgres';
import { describeWith } from 'testkit/programs';
import { address, call, changesOf, contentOf, HOUR, recordOf, rejection } from 'testkit/records';
import { clients, NAMES, query, until } from './support.js';

/** Our own: other tests restore the default one. */
const sinon = createSandbox();

describeWith(needsPostgres, 'A call that waits for a connection until its deadline', () => {
  let server: PostgresServer;
  before(async () => {
    server = await startPostgres();
    const client = clients.pg({ port: server.port });
    await client.store().migrate();
    await client.end();
  });
  after(() => server.stop());
  afterEach(() => sinon.restore());

  /** Moves the clock of deadlines, and no timer. */
  const advance = (milliseconds: number): void => {
    const now = performance.now.bind(performance);
    sinon.stub(performance, 'now').callsFake(() => now() + milliseconds);
  };

  const connectionsOfStore = `SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() ORDER BY 1`;

  for (const name of NAMES) {
    for (const prepare of [false, true]) {
      it(`is never carried out: ${name}${prepare ? ', prepared' : ''}`, async () => {
        const client = clients[name]({ port: server.port, max: 2 });
        const store = client.store({ prepare, sweepInterval: false });
        const [key, other, group] = [address(), address(), address()];
        await store.create(key, recordOf({ a: '1' }), call());
        const before = await store.load(key, call());

        const lock = new pg.Client({
          host: '127.0.0.1',
          port: server.port,
          user: 'app',
          database: 'postgres',
        });
        await lock.connect();
        await lock.query('BEGIN');
        await lock.query('SELECT FROM wsession WHERE key = $1 FOR UPDATE', [key]);
        // All connections of the pool wait for this row.
        const busy = [1, 2].map(() => store.update(key, changesOf({ b: '2' }), call(20_000)));
        await until('they wait', async () => {
          const waiting = `SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'`;
          return (await query(server.port, waiting)).length === 2;
        });
        const late = [
          store.update(key, changesOf({ late: '1' }), call(5000)),
          store.create(other, recordOf({ late: '1' }), call(5000)),
          store.destroy(key, call(5000)),
          store.destroy(key, { ...call(5000), replaced: { by: other, until: Date.now() + HOUR } }),
          store.index.add(group, key, Date.now() + HOUR, call(5000)),
          store.load(key, call(5000)),
        ].map(rejection);
        advance(6000);
        const connections = await query(server.port, connectionsOfStore);
        await lock.query('COMMIT');
        await Promise.all(busy);
        for (const error of await Promise.all(late))
          expect(error.message).to.match(/^Postgres: .*no connection before the call's deadline/);
        sinon.restore();

        expect(contentOf(await store.load(key, call()))).to.deep.equal({ ...contentOf(before), b: '2' });
        expect(await store.load(other, call())).to.equal(undefined);
        expect(await store.index.keys(group, call())).to.deep.equal([]);
        if (name === 'pg')
          expect(await query(server.port, connectionsOfStore), 'they are kept').to.deep.equal(connections);
        await Promise.all([lock.end(), client.end()]);
      });
    }

    it(`isn't sent where it has passed already: ${name}`, async () => {
      const client = clients[name]({ port: 1 });
      const error = await rejection(client.store().load(address(), call(-1)));
      expect(error.message).to.equal("Postgres: no connection before the call's deadline");
      await client.end();
    });
  }

  it('is never carried out: a single Client of pg that connects later', async () => {
    const client = new pg.Client({ host: '127.0.0.1', port: server.port, user: 'app', database: 'postgres' });
    const store = new PostgresStore(client, { sweepInterval: false });
    const key = address();
    const late = [1, 2].map(() => rejection(store.create(key, recordOf(), call(5000))));
    await new Promise(setImmediate);
    advance(6000);
    await client.connect();
    for (const error of await Promise.all(late)) expect(error.message).to.contain('no connection before');
    sinon.restore();
    expect(await store.load(key, call())).to.equal(undefined);
    await client.end();
  });

  it('takes turns on a single Client of pg, which takes one statement at a time', async () => {
    const warnings: string[] = [];
    const note = ({ name }: Error): number => warnings.push(name);
    process.on('warning', note);
    const client = new pg.Client({ host: '127.0.0.1', port: server.port, user: 'app', database: 'postgres' });
    await client.connect();
    const store = new PostgresStore(client, { sweepInterval: false });
    const key = address();
    await store.create(key, recordOf(), call());
    await rejection(store.update(key, { ...changesOf({}), updatedAt: 'x' as never }, call()));
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, i) => store.update(key, changesOf({ [`k${i}`]: '1' }), call())),
    );
    expect(answers.map((answer) => answer.outcome)).to.deep.equal(Array(20).fill('updated'));
    const { record } = (await store.destroy(key, call())) as Destroyed & { outcome: 'destroyed' };
    expect(record.entries).to.have.property('size', 20);
    await client.end();
    process.off('warning', note);
    expect(warnings).to.not.include('DeprecationWarning'); // pg's, for a client that is given two at a time
  });
});
