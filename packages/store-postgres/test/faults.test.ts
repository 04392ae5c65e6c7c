import { execFileSync } from 'node:child_process';
import { chownSync, mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import pg from 'pg';
import { Client } from 'testkit/http';
import { needsPostgres, type PostgresServer, startPostgres } from 'testkit/postgres';
import { describeWith } from 'testkit/programs';
import { startProxy } from './proxy.js';
import { clients, NAMES, query, until } from './support.js';
import { AppUnderTest } from './visitor.js';

for (const name of NAMES) {
  describeWith(needsPostgres, `An outage of Postgres, with ${name}`, () => {
    let server: PostgresServer;
    let app: AppUnderTest;
    const problems: unknown[] = [];
    const note = (problem: unknown): number => problems.push(problem);

    before(async () => {
      process.on('unhandledRejection', note).on('uncaughtExceptionMonitor', note);
      server = await startPostgres();
      const client = clients.pg({ port: server.port });
      await client.store().migrate();
      await client.end();
    });
    after(async () => {
      process.off('unhandledRejection', note).off('uncaughtExceptionMonitor', note);
      await server.stop();
    });
    const start = async (
      options: { port?: number; max?: number; user?: string } = {},
      timeout?: number,
    ): Promise<void> => {
      app = await AppUnderTest.start(name, { port: server.port, ...options }, timeout);
    };
    afterEach(async () => {
      await app.stop();
      expect(problems.splice(0)).to.deep.equal([]);
    });

    async function expectSmallOutage(begin: () => Promise<unknown>, end: () => Promise<unknown>): Promise<void> {
      await app.count();
      await app.count();
      await begin();
      await app.expectUntouched();
      await app.expectRefused('/count');
      await app.expectAllRefused();
      await end();
      await app.expectRecovered();
    }

    it('by a crash and a restart is small, and nothing acknowledged is lost', async () => {
      await start();
      await expectSmallOutage(
        () => server.kill('SIGKILL'),
        () => server.restart(),
      );
    });

    it('by a restart in order is small', async () => {
      await start();
      await app.count();
      await server.restart();
      await app.expectRecovered();
    });

    it('by a server that hangs is small', async () => {
      await start();
      await expectSmallOutage(
        () => server.kill('SIGSTOP'),
        () => server.kill('SIGCONT'),
      );
    });

    it('before the app starts is small, too', async () => {
      await server.kill('SIGKILL');
      await start();
      await app.expectUntouched();
      await app.expectRefused('/count');
      await server.restart();
      await until('it recovers', async () => (await app.visitor.get('/count')).status === 200);
      await app.count();
      expect(app.acknowledged).to.equal(2);
    });

    for (const [what, side, text, stored] of [
      ['before a write arrives', 'to server', 'UPDATE', 0],
      ['between a write and its answer', 'to client', 'UPDATE 1', 1],
    ] as const) {
      it(`by a connection that is cut ${what} is one 503, and the write is not sent again`, async () => {
        const proxy = await startProxy(server.port);
        try {
          await start({ port: proxy.port });
          await app.count();
          const cut = proxy.cutAt(side, text);
          await app.expectRefused('/count');
          await cut;
          await until('it recovers', async () => (await app.visitor.get('/read')).status === 200);
          expect(await app.read()).to.equal(app.acknowledged + stored);
        } finally {
          await proxy.close();
        }
      });
    }

    // `postgres` keeps such a connection until the operating system gives it up.
    if (name === 'pg') {
      it('by connections on which nothing arrives any more is small: the pool gets new ones', async () => {
        const proxy = await startProxy(server.port);
        try {
          await start({ port: proxy.port, max: 3 });
          await app.count();
          await Promise.all(Array.from({ length: 3 }, () => app.read()));
          proxy.stall();
          await app.expectAllRefused();
          await app.expectRecovered();
        } finally {
          await proxy.close();
        }
      });
    }

    it('by statement_timeout is small: a row that is locked too long', async () => {
      await query(server.port, `ALTER ROLE app SET statement_timeout = '100ms'`);
      await start();
      const lock = new pg.Client({ host: '127.0.0.1', port: server.port, user: 'app', database: 'postgres' });
      await lock.connect();
      try {
        await app.count();
        await lock.query('BEGIN');
        await lock.query('SELECT FROM wsession FOR UPDATE');
        expect(await app.read()).to.equal(1);
        await app.expectUntouched();
        for (const path of ['/count', '/update', '/logout']) await app.expectRefused(path);
        await lock.query('COMMIT');
        expect(await app.read()).to.equal(1);
        await app.expectRecovered();
      } finally {
        await lock.end();
        await query(server.port, 'ALTER ROLE app RESET statement_timeout');
      }
    });

    it('by a row that is locked longer than the timeout is small: the other connections are free', async () => {
      await start({ max: 3 });
      const lock = new pg.Client({ host: '127.0.0.1', port: server.port, user: 'app', database: 'postgres' });
      await lock.connect();
      await app.count();
      await lock.query('BEGIN');
      await lock.query('SELECT FROM wsession FOR UPDATE');
      await app.expectRefused('/count');
      expect(await app.read()).to.equal(1);
      await lock.query('COMMIT');
      await lock.end();
      await app.expectRecovered();
    });

    it('by a pool whose connections are all in use is small', async () => {
      await start({ max: 2 });
      const lock = new pg.Client({ host: '127.0.0.1', port: server.port, user: 'app', database: 'postgres' });
      await lock.connect();
      try {
        await app.count();
        await lock.query('BEGIN');
        await lock.query('LOCK TABLE wsession IN ACCESS EXCLUSIVE MODE');
        await app.expectAllRefused();
        await app.expectAllRefused();
        await lock.query('COMMIT');
        await app.expectRecovered();
      } finally {
        await lock.end();
      }
    });

    it('by a server that takes no more connections is small', async () => {
      await query(server.port, 'CREATE ROLE limited LOGIN CONNECTION LIMIT 0');
      await query(server.port, 'GRANT SELECT, INSERT, UPDATE, DELETE ON wsession TO limited');
      await start({ user: 'limited' });
      await app.expectUntouched();
      await app.expectRefused('/count');
      await query(server.port, 'ALTER ROLE limited CONNECTION LIMIT -1');
      await until('it recovers', async () => (await app.visitor.get('/count')).status === 200);
      await query(server.port, 'DROP OWNED BY limited');
    });

    it('by a standby in place of the primary refuses what writes, whole, and nothing else', async () => {
      await start();
      await app.count();
      await query(server.port, 'ALTER SYSTEM SET default_transaction_read_only = on');
      await query(server.port, 'SELECT pg_reload_conf()');
      await until('writes are refused', async () => (await app.visitor.get('/count')).status === 503);
      await app.expectReadOnly();
      const admin = new pg.Client({
        host: '127.0.0.1',
        port: server.port,
        user: 'app',
        database: 'postgres',
      });
      await admin.connect();
      await admin.query('SET default_transaction_read_only = off');
      await admin.query('ALTER SYSTEM RESET default_transaction_read_only');
      await admin.query('SELECT pg_reload_conf()');
      await admin.end();
      await app.expectRecovered();
    });

    it('by a missing table, or one of another version, is small, and ends with migrate()', async () => {
      await start();
      await app.count();
      await query(server.port, 'ALTER TABLE wsession RENAME TO elsewhere');
      await app.expectAllRefused();
      await query(server.port, 'ALTER TABLE elsewhere RENAME TO wsession');
      await app.expectRecovered();
      await query(server.port, 'ALTER TABLE wsession RENAME COLUMN entries TO newer');
      await app.expectAllRefused();
      await query(server.port, 'ALTER TABLE wsession RENAME COLUMN newer TO entries');
      await app.expectRecovered();
      await query(server.port, 'DROP TABLE wsession');
      await app.expectRefused('/count');
      await app.store.migrate();
      expect(await app.read()).to.equal(undefined);
    });

    describe('is none:', () => {
      afterEach(() => query(server.port, 'ALTER ROLE app RESET default_transaction_isolation'));

      for (const isolation of ['repeatable read', 'serializable']) {
        it(`serialization failures, where the default is ${isolation}: none of 20 parallel writes fails or is lost`, async () => {
          await query(server.port, `ALTER ROLE app SET default_transaction_isolation = '${isolation}'`);
          await start({}, 10_000);
          await app.visitor.get('/set/key-0');
          const keys = Array.from({ length: 20 }, (_, i) => `key-${i}`);
          const visitor = app.visitor;
          const responses = await Promise.all(
            keys.map((key) => new Client(visitor.url).get(`/set/${key}`, { headers: { cookie: visitor.cookie } })),
          );
          expect(responses.map(({ status }) => status)).to.deep.equal(keys.map(() => 200));
          expect((await visitor.get('/read')).json()).to.have.all.keys(keys);
        });
      }

      it('a deadlock that the server ended: the statement is sent again', async () => {
        await start();
        await app.count();
        await query(
          server.port,
          `CREATE SEQUENCE attempts;
           CREATE FUNCTION fail_twice() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF nextval('attempts') < 3 THEN RAISE EXCEPTION 'deadlock detected' USING ERRCODE = '40P01'; END IF;
             RETURN NEW;
           END $$;
           CREATE TRIGGER fail_twice BEFORE UPDATE ON wsession FOR EACH ROW EXECUTE FUNCTION fail_twice()`,
        );
        await app.count();
        expect(app.acknowledged).to.equal(2);
        expect((await query(server.port, 'SELECT last_value::int FROM attempts'))[0].last_value).to.equal(3);
        await query(server.port, 'DROP FUNCTION fail_twice CASCADE; DROP SEQUENCE attempts');
      });

      it('an empty table: its visitors are anonymous', async () => {
        await start();
        await app.count();
        await query(server.port, 'TRUNCATE wsession');
        expect(await app.read()).to.equal(undefined);
        await app.count();
        expect(app.acknowledged).to.equal(1);
      });
    });

    it('by a full disk refuses new sessions; those in the table can be read, and nothing acknowledged is lost', async function () {
      this.timeout(60_000);
      const folder = join(server.dir, 'small');
      mkdirSync(folder);
      try {
        execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', folder], { stdio: 'ignore' });
      } catch {
        this.skip();
      }
      const { uid, gid } = statSync(server.dir);
      chownSync(folder, uid, gid);
      try {
        await query(server.port, `CREATE TABLESPACE small LOCATION '${folder}'`);
        await query(
          server.port,
          'ALTER TABLE wsession SET TABLESPACE small; ALTER INDEX wsession_pkey SET TABLESPACE small',
        );
        await query(server.port, 'ALTER TABLE wsession SET (autovacuum_enabled = false)');
        await start();
        await app.count();
        // Large rows, then small ones, until no key finds room any more in its page of the index.
        for (const text of ['repeat(md5(random()::text), 50)', "''"])
          await query(
            server.port,
            `DO $$ DECLARE failures int := 0; BEGIN
              WHILE failures < 300 LOOP
                BEGIN
                  INSERT INTO wsession (key, entries, expires_at)
                    VALUES (md5(random()::text), jsonb_build_object('a', ${text}), 1e15);
                  failures := 0;
                EXCEPTION WHEN disk_full THEN failures := failures + 1;
                END;
                COMMIT;
              END LOOP;
            END $$`,
          );
        // A page of the index may still have room for some keys: those are acknowledged, and there.
        const visitors = Array.from({ length: 50 }, () => new Client(app.visitor.url));
        const answers = await Promise.all(visitors.map((visitor) => visitor.get('/count')));
        const kinds = new Set(answers.map(({ status, setCookie }) => `${status} ${setCookie.length}`));
        expect(kinds).to.include('503 0');
        expect(['503 0', '200 1']).to.include.members([...kinds]);
        for (const [i, { status }] of answers.entries())
          if (status === 200) expect((await visitors[i]?.get('/read'))?.json().counter).to.equal(1);
        await app.expectUntouched();
        expect(await app.read()).to.equal(1);
        execFileSync('mount', ['-o', 'remount,size=8m', folder]);
        expect((await new Client(app.visitor.url).get('/count')).status).to.equal(200);
        await app.expectRecovered();
      } finally {
        await query(
          server.port,
          'ALTER TABLE wsession SET TABLESPACE pg_default; ALTER INDEX wsession_pkey SET TABLESPACE pg_default',
        );
        await query(server.port, 'DROP TABLESPACE small').catch(() => {});
        execFileSync('umount', ['-l', folder]);
      }
    });
  });
}
