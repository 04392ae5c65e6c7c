import { expect } from 'chai';
import { needsPostgres, type PostgresServer, startPostgres } from 'testkit/postgres';
import { describeWith } from 'testkit/programs';
import { startProxy, type TcpProxy } from './proxy.js';
import { clients, NAMES, query, until } from './support.js';
import { AppUnderTest } from './visitor.js';

for (const name of NAMES) {
  describeWith(needsPostgres, `A failover of Postgres, with ${name}`, function () {
    this.timeout(60_000);
    let primary: PostgresServer;
    let standby: PostgresServer;
    /** Between the app and the primary, and between the primary and the standby. */
    let address: TcpProxy;
    let replication: TcpProxy;
    let app: AppUnderTest;

    beforeEach(async () => {
      primary = await startPostgres();
      const client = clients.pg({ port: primary.port });
      await client.store().migrate();
      await client.end();
      [address, replication] = await Promise.all([startProxy(primary.port), startProxy(primary.port)]);
      standby = await startPostgres({ standbyOf: replication });
      app = await AppUnderTest.start(name, { port: address.port });
    });
    afterEach(async () => {
      await app.stop();
      await Promise.all([address.close(), replication.close(), standby.stop(), primary.stop()]);
    });

    const isInSync = async (): Promise<boolean> => {
      const lag = 'SELECT FROM pg_stat_replication WHERE replay_lsn = pg_current_wal_lsn()';
      return (await query(primary.port, lag)).length === 1;
    };
    const interruptReplication = async (): Promise<void> => {
      replication.target = 1;
      replication.cut();
      await until(
        'the standby is gone',
        async () => (await query(primary.port, 'SELECT FROM pg_stat_replication')).length === 0,
      );
    };
    const failOver = async (): Promise<void> => {
      await primary.kill('SIGKILL');
      await query(standby.port, 'SELECT pg_promote()');
      address.target = standby.port;
    };

    it('to a standby that was in sync loses nothing, and needs nothing to recover', async () => {
      await app.count();
      await app.count();
      await until('the standby is in sync', isInSync);
      await primary.kill('SIGKILL');
      await app.expectUntouched();
      await app.expectRefused('/count');
      await failOver();
      await app.expectRecovered();
      expect(app.acknowledged).to.equal(4);
    });

    it('to an asynchronous standby loses what was acknowledged while replication was interrupted, logouts included', async () => {
      await app.count();
      await until('the standby is in sync', isInSync);
      await interruptReplication();
      for (let i = 0; i < 10; i++) await app.count();
      const { cookie } = app.visitor;
      expect((await app.visitor.get('/logout')).status).to.equal(200);
      await failOver();
      await until('it recovers', async () => (await app.visitor.get('/read', { headers: { cookie } })).status === 200);
      expect((await app.visitor.get('/read', { headers: { cookie } })).json()).to.deep.equal({ counter: 1 });
    });

    it('to a synchronous standby loses nothing: while replication is interrupted, no write is acknowledged', async () => {
      await query(primary.port, `ALTER SYSTEM SET synchronous_standby_names = '*'`);
      await query(primary.port, 'SELECT pg_reload_conf()');
      await until('it is synchronous', async () => {
        const states = await query(primary.port, 'SELECT sync_state FROM pg_stat_replication');
        return states[0]?.sync_state === 'sync';
      });
      await app.count();
      await app.count();
      await interruptReplication();
      await app.expectRefused('/count');
      await app.expectRefused('/logout');
      await app.expectUntouched();
      await failOver();
      await query(standby.port, `ALTER SYSTEM SET synchronous_standby_names = ''`);
      await query(standby.port, 'SELECT pg_reload_conf()');
      await app.expectRecovered();
      expect(app.acknowledged).to.equal(4);
    });

    // With `postgres`, that takes a list of servers and target_session_attrs.
    if (name === 'postgres') return;
    it('that leaves the connections to the former primary open is over once a write was refused', async () => {
      await app.count();
      await until('the standby is in sync', isInSync);
      // As a hosted service does: the former primary takes no writes any more, and the address leads to the new one.
      await query(primary.port, 'ALTER SYSTEM SET default_transaction_read_only = on');
      await query(primary.port, 'SELECT pg_reload_conf()');
      await query(standby.port, 'SELECT pg_promote()');
      address.target = standby.port;
      await until('a write is refused', async () => (await app.visitor.get('/count')).status === 503);
      await app.expectRecovered();
      expect((await query(standby.port, 'SELECT FROM wsession')).length).to.equal(1);
    });
  });
}
