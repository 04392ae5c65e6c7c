import { expect } from 'chai';
import { Client, serve } from 'testkit/http';
import { needsPostgres, type PostgresServer, startPostgres } from 'testkit/postgres';
import { describeWith } from 'testkit/programs';
import { address, call, contentOf, recordOf, rejection } from 'testkit/records';
import { counterApp } from './app.js';
import { keepsPreparedStatements, needsPgBouncer, startPgBouncer } from './pgbouncer.js';
import { clients, NAMES } from './support.js';

describeWith([...needsPostgres, ...needsPgBouncer], 'PostgresStore behind PgBouncer in transaction mode', () => {
  let server: PostgresServer;
  before(async () => {
    server = await startPostgres();
  });
  after(() => server.stop());

  for (const name of NAMES)
    it(`creates the table, and loses none of 100 parallel updates over two connections: ${name}`, async () => {
      const bouncer = await startPgBouncer(server.port, 2);
      const client = clients[name]({ port: bouncer.port });
      const stores = [1, 2].map(() => client.store({ sweepInterval: false }));
      await Promise.all(stores.map((store) => store.migrate()));
      const served = await Promise.all(stores.map((store) => serve(counterApp(store))));
      try {
        const visitors = served.map((one) => new Client(one));
        await visitors[0]?.get('/set/key-0');
        const headers = { cookie: visitors[0]?.cookie as string };
        const updates = Array.from({ length: 100 }, (_, i) => visitors[i % 2]?.get('/update', { headers }));
        for (const response of await Promise.all(updates)) expect(response?.status).to.equal(200);
        expect((await visitors[1]?.get('/', { headers }))?.json()).to.deep.equal({ counter: 100, 'key-0': 1 });
      } finally {
        for (const one of served) await one.close();
        await client.end();
        await bouncer.stop();
      }
    });

  it('needs PgBouncer 1.21 for prepare: true, and says which statement is the problem before', async () => {
    const bouncer = await startPgBouncer(server.port, 1);
    const both = [1, 2].map(() => clients.pg({ port: bouncer.port }));
    try {
      const [first, second] = both.map((client) => client.store({ prepare: true, sweepInterval: false }));
      await first?.migrate();
      const key = address();
      await first?.create(key, recordOf({ a: '1' }), call());
      expect(contentOf(await first?.load(key, call()))).to.deep.equal({ a: '1' });
      const loaded = second?.load(key, call());
      if (keepsPreparedStatements()) expect(contentOf(await loaded)).to.deep.equal({ a: '1' });
      else expect((await rejection(loaded)).message).to.match(/^Postgres: prepared statement "\w+" already exists/);
    } finally {
      for (const client of both) await client.end();
      await bouncer.stop();
    }
  });
});
