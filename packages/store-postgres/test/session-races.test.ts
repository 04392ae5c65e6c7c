import { needsPostgres, type PostgresServer, startPostgres } from 'testkit/postgres';
import { describeWith } from 'testkit/programs';
import { describeSessionRaces } from 'testkit/session-races';
import { clients } from './support.js';

describeWith(needsPostgres, 'PostgresStore', () => {
  let server: PostgresServer;
  before(async () => {
    server = await startPostgres();
    const client = clients.pg({ port: server.port });
    await client.store().migrate();
    await client.end();
  });
  after(() => server.stop());

  describeSessionRaces(new URL('./race-worker.js', import.meta.url), () => ['pg', String(server.port)]);
});
