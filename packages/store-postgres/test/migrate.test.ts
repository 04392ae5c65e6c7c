import { readFile } from 'node:fs/promises';
import { PostgresStore } from '@koa-wsession/store-postgres';
import { expect } from 'chai';
import { needsPostgres, type PostgresServer, startPostgres } from 'testkit/postgres';
import { describeWith } from 'testkit/programs';
import { address, call, changesOf, contentOf, recordOf, rejection } from 'testkit/records';
import { clients, NAMES, query, type TestClient } from './support.js';

for (const name of NAMES) {
  describeWith(needsPostgres, `migrate() with ${name}`, () => {
    let server: PostgresServer;
    const open: TestClient[] = [];
    const connect = (user?: string): TestClient => {
      const client = clients[name]({ port: server.port, ...(user && { user }) });
      open.push(client);
      return client;
    };
    before(async () => {
      server = await startPostgres();
      await query(server.port, 'CREATE ROLE visitor LOGIN');
    });
    beforeEach(() => query(server.port, 'DROP TABLE IF EXISTS wsession'));
    afterEach(async () => {
      for (const client of open.splice(0)) await client.end();
    });
    after(() => server.stop());

    /** Uses every statement of the store. */
    async function useAll(store: PostgresStore): Promise<void> {
      const key = address();
      expect(await store.create(key, recordOf({ a: '1' }), call())).to.deep.equal({ outcome: 'created' });
      await store.update(key, changesOf({ b: '2' }), call());
      await store.update(key, changesOf({ c: '3' }, { expect: new Map([['b', '2']]) }), call());
      expect(contentOf(await store.load(key, call()))).to.deep.equal({ a: '1', b: '2', c: '3' });
      const keys: string[] = [];
      for await (const batch of store.scan(call)) keys.push(...batch);
      expect(keys).to.include(key);
      const replaced = { by: address(), until: Date.now() + 60_000 };
      expect(await store.destroy(key, { ...call(), replaced })).to.have.property('outcome', 'destroyed');
      expect(await store.destroy(key, call())).to.deep.equal({ outcome: 'replaced', by: replaced.by });
      const group = address();
      expect(await store.index.add(group, key, Date.now() + 60_000, { ...call(), limit: 1 })).to.equal(true);
      expect(await store.index.keys(group, call())).to.deep.equal([key]);
      await store.index.remove(group, key, call());
      expect(await store.index.keys(group, call())).to.deep.equal([]);
      await store.sweep();
    }

    it('creates the table, and changes nothing the second time', async () => {
      const store = connect().store();
      await store.migrate();
      await useAll(store);
      const before = await query(server.port, 'SELECT * FROM wsession');
      await store.migrate();
      expect(await query(server.port, 'SELECT * FROM wsession')).to.deep.equal(before);
    });

    it('may be called by ten processes at once', async () => {
      await Promise.all(Array.from({ length: 10 }, () => connect().store().migrate()));
      await useAll(connect().store());
    });

    it('upgrades a table that has no comment, and keeps its rows', async () => {
      const store = connect().store();
      await store.migrate();
      const key = address();
      await store.create(key, recordOf({ a: '1' }), call());
      await query(server.port, 'COMMENT ON TABLE wsession IS NULL');
      await store.migrate();
      expect(contentOf(await store.load(key, call()))).to.deep.equal({ a: '1' });
    });

    it('refuses a table of a newer version, and leaves it as it is', async () => {
      await connect().store().migrate();
      await query(server.port, `COMMENT ON TABLE wsession IS 'Sessions of koa-wsession, version 2'`);
      const error = await rejection(connect().store().migrate());
      expect(error.message).to.equal('Postgres: the table is of a newer version: upgrade @koa-wsession/store-postgres');
      const [row] = await query(server.port, `SELECT obj_description('wsession'::regclass) AS comment`);
      expect(row.comment).to.match(/version 2$/);
    });

    it('says what is missing where the role may not create tables', async () => {
      expect((await rejection(connect('visitor').store().migrate())).message).to.equal(
        'Postgres: permission denied for schema public',
      );
    });

    it('needs no right to create where the table is there; the store needs those of the README and no others', async () => {
      await connect().store().migrate();
      const readme = await readFile(new URL('../README.md', import.meta.url), 'utf8');
      const grant = /^GRANT .*;$/m.exec(readme)?.[0] as string;
      await query(server.port, grant.replace('TO app', 'TO visitor'));
      const store = connect('visitor').store();
      await store.migrate();
      await useAll(store);
      for (const right of /GRANT (.*) ON/.exec(grant)?.[1]?.split(', ') ?? []) {
        await query(server.port, `REVOKE ${right} ON wsession FROM visitor`);
        expect((await rejection(useAll(store))).message, right).to.equal(
          'Postgres: permission denied for table wsession',
        );
        await query(server.port, `GRANT ${right} ON wsession TO visitor`);
      }
    });

    it('is what a call without the table asks for, in every call', async () => {
      const store = connect().store();
      const error = await rejection(store.load(address(), call()));
      expect(error.message).to.match(
        /^Postgres: relation "wsession" does not exist\. Create or upgrade .* store\.migrate\(\)/,
      );
      await query(server.port, 'CREATE TABLE wsession (key text PRIMARY KEY)');
      expect((await rejection(store.load(address(), call()))).message).to.match(/does not exist\. Create or upgrade/);
    });

    it('creates the table in a schema, under a name, for each store its own', async () => {
      await query(server.port, 'CREATE SCHEMA IF NOT EXISTS "My-App"');
      const client = connect();
      const stores = [
        client.store({ schema: 'My-App', table: 'Order', prepare: true }),
        client.store({ prepare: true }),
      ];
      for (const store of stores) {
        await store.migrate();
        await useAll(store);
      }
      const [row] = await query(server.port, `SELECT count(*)::int AS rows FROM "My-App"."Order"`);
      expect(row.rows).to.be.above(0);
      await query(server.port, 'DROP SCHEMA "My-App" CASCADE');
    });

    it('with unlogged creates an unlogged table', async () => {
      const store = connect().store({ unlogged: true });
      await store.migrate();
      await useAll(store);
      const [row] = await query(server.port, `SELECT relpersistence FROM pg_class WHERE relname = 'wsession'`);
      expect(row.relpersistence).to.equal('u');
    });
  });
}

describe('The SQL of migrate()', () => {
  it('is that of the README', async () => {
    const readme = await readFile(new URL('../README.md', import.meta.url), 'utf8');
    const sent: string[] = [];
    const unsafe = (text: string) => {
      sent.push(text);
      return { raw: async () => [] };
    };
    const client = Object.assign(() => {}, { unsafe, end: async () => {} });
    await new PostgresStore(client, { sweepInterval: false }).migrate();
    expect(sent).to.have.length(2);
    expect(readme).to.contain(`\`\`\`sql\n${sent[1]}\`\`\``);
  });
});
